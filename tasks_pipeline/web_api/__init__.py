"""The Web API under `/api/0/`: what sentry-cli and the bundler plugins ask for. It is served beside the receiver."""

PREFIX = "/api/0"
"""The path below which it lies; here, since the receiver needs it without the code of the rest."""
