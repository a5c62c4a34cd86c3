"""The whole as one service: start, supervise and stop its processes, prepare their home directory."""
