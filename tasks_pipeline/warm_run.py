"""Imported by the fork server of `code_server.py` before its first fork; importing this is what makes it warm."""

from tasks_pipeline.code_server import warm_up

warm_up()
