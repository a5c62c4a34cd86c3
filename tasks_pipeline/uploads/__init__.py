"""Uploads of source maps and debug files: putting pieces together, looking into the files, making them known."""
