"""The Web API under `/api/0/`: what clients of Sentry ask for, read, change and upload. It is served by `web`."""

PREFIX = "/api/0"
"""The path below which it lies."""
