"""Tasks Pipeline: the background work of an error tracker as a Dagster project."""

__version__ = "0.1.0"
