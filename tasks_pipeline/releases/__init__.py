"""Releases: which are known, and which of two versions is the newer."""
