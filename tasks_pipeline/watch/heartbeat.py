"""The heartbeat: an address outside is pinged while all is well, so that somebody notices when nothing is."""

from __future__ import annotations

import logging
from datetime import datetime

from tasks_pipeline import outbound
from tasks_pipeline.storage.state.facts import probe, set_probe
from tasks_pipeline.stores import Stores

log = logging.getLogger(__name__)

NAME = "heartbeat"
TIMEOUT_SECONDS = 5.0  # for all of an attempt
ATTEMPTS = 2


def ping_heartbeat(stores: Stores, now: datetime, *, well: bool) -> str:
    """Ping `watch.heartbeat_url` when it is time and all is well; gives what came of it, for the log.

    A ping that fails is logged and made again at the next tick: whoever waits for it raises the alarm.
    """
    watch = stores.config.watch
    if watch.heartbeat_url is None:
        return "no heartbeat is configured"
    if not well:
        return "no ping: the pipeline is not well"
    with stores.state.read() as connection:
        last = probe(connection, NAME)
    if last is not None and (now - last["measured_at"]).total_seconds() < watch.heartbeat_seconds * 0.9:
        return "not yet"
    said = ""
    for _ in range(ATTEMPTS):
        try:
            answer = outbound.ask(
                outbound.Request(watch.heartbeat_url, seconds=TIMEOUT_SECONDS), outbound.EVERYWHERE
            )
        except outbound.OutboundError as error:
            said = str(error)
            continue
        if 200 <= answer.status < 300:
            with stores.state.write() as connection:
                set_probe(stores.state, connection, NAME, now, status="ok", detail=f"HTTP {answer.status}")
            return "pinged"
        said = f"HTTP {answer.status}"
    log.error("the heartbeat did not get through: %s", said)
    return f"failed: {said}"
