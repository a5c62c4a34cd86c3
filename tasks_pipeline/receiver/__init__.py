"""The ASGI application that accepts envelopes, writes them to the spool and answers. It processes nothing."""
