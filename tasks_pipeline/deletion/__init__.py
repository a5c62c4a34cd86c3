"""Deleting groups, releases and projects with everything of them. How rows, files and blobs are erased is in `erasure/`."""
