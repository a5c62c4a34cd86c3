"""The Web API under `/api/0/`: what sentry-cli and the bundler plugins ask for. It is served beside the receiver."""
