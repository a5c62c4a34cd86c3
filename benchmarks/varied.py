"""Shop events as no two real ones are alike: other ids, numbers, users and variables each time, and stacks that are new.

The 2,000 recorded events come again and again in a benchmark. What a cache makes of them says little about real traffic
unless everything changes that changes there.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

import deflate

from tasks_pipeline.demo.traffic import ShopEvent, shop_events

_NUMBER = re.compile(r"(?<![0-9a-f])(?:0x7f[0-9a-f]{10}|[0-9a-f]{32}|[0-9a-f]{16}|\d{5,})(?![0-9a-f])")
_DATA = ("breadcrumbs", "request", "extra", "user", "tags", "contexts")
_CARD = "4111111111111111"


def events(count: int, *, varied: bool = False, new_percent: float = 0) -> Iterator[ShopEvent]:
    """So many events of the sample shop. `varied`: each has data of its own. Of so many in a hundred, every frame has a line
    of source that was never seen before."""
    chance = random.Random(1)
    for number, event in enumerate(shop_events(count, encoding="")):
        is_new = chance.random() * 100 < new_percent
        body = event.body
        if varied or is_new:
            head, item, payload = body.split(b"\n")[:3]
            changed = _changed(json.loads(payload), chance, number if is_new else None)
            text = json.dumps(changed, separators=(",", ":")).encode()
            headers = {**json.loads(item), "length": len(text)}
            body = b"\n".join((head, json.dumps(headers).encode(), text, b""))
        # as small as zlib makes it, in a third of the time
        yield ShopEvent(event.event_id, event.truth, bytes(deflate.gzip_compress(body, 6)))


def _changed(event: dict[str, Any], chance: random.Random, new: int | None) -> dict[str, Any]:
    known: dict[str, str] = {}

    def other(match: re.Match[str]) -> str:
        """Another number of the same kind, and the same one wherever it stands in the event."""
        text = match[0]
        if text == _CARD:
            return text
        digits = "0123456789" if text.isdigit() else "0123456789abcdef"
        start = 4 if text.startswith("0x7f") else 1
        if text not in known:
            known[text] = text[:start] + "".join(chance.choices(digits, k=len(text) - start))
        return known[text]

    def varied(value: Any) -> Any:
        return json.loads(_NUMBER.sub(other, json.dumps(value)))

    for name in _DATA:
        if name in event:
            event[name] = varied(event[name])
    for exception in event.get("exception", {}).get("values", ()):
        for frame in exception.get("stacktrace", {}).get("frames", ()):
            if "vars" in frame:
                frame["vars"] = varied(frame["vars"])
            if new is not None:
                frame["context_line"] = f"{frame.get('context_line', '')}  # {new}"
    return event
