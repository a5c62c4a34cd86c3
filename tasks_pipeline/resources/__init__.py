"""What assets are handed: thin Dagster resources around the stores."""
