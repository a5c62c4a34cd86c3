"""Releases: which are known and which is the newer, their commits and deploys, their health and how far they are adopted."""
