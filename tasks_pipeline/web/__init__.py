"""The web process: one ASGI application of pages and Web API, who may ask it, and its server."""
