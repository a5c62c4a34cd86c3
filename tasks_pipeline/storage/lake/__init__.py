"""The lake: DuckLake tables over Parquet files, how they are written, and how they are read."""
