"""What retention removes, kept elsewhere as plain Parquet, and brought back. What goes, and when, is in `retention`."""
