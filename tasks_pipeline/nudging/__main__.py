"""`python -m tasks_pipeline.nudging UI_URL`: the nudge as a process of the service, for the home of its environment."""

from __future__ import annotations

import logging
import sys
import threading

from tasks_pipeline.home import Home
from tasks_pipeline.nudging.loop import nudge_forever

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in ("httpx", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    nudge_forever(Home.resolve(), sys.argv[1], threading.Event())
