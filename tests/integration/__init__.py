"""Tests against real databases, files and processes."""
