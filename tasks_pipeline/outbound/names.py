"""Names of hosts to addresses, in bounded time.

`getaddrinfo` cannot be interrupted and takes as long as the resolver likes. So it runs in daemon threads, of which there
are at most LOOKUPS: who asks goes on at its deadline, and who asks for a name that is being looked up waits for that.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from ipaddress import ip_address
from typing import Any

from tasks_pipeline.outbound.deadline import Deadline
from tasks_pipeline.outbound.errors import Unreachable

LOOKUPS = 64

_pending: dict[str, Future[Any]] = {}
_changed = threading.Condition()


def addresses_of(host: str, port: int, deadline: Deadline) -> list[str]:
    """The addresses of a host, as the resolver orders them. Raises Unreachable."""
    plain = host.strip("[]")
    try:
        return [str(ip_address(plain))]
    except ValueError:
        pass
    try:
        found = _looked_up(
            f"{plain}:{port}", lambda: socket.getaddrinfo(plain, port, type=socket.SOCK_STREAM), deadline
        )
    except TimeoutError as error:
        raise Unreachable(f"DNS: {host}: out of time") from error
    except (
        OSError,
        ValueError,
    ) as error:  # ValueError: no name at all, such as one with a label of 64 letters
        raise Unreachable(f"DNS: {host}: {error}") from error
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def own_name(deadline: Deadline) -> str | None:
    """The full name of this machine as the resolver knows it; None when there is none, or it takes too long to say."""
    try:
        name = str(_looked_up(":own", socket.getfqdn, deadline))
    except OSError:  # TimeoutError is one
        return None
    return name if "." in name else None


def _looked_up(key: str, ask: Callable[[], Any], deadline: Deadline) -> Any:
    """What a lookup gives or raises. Raises TimeoutError at the deadline; the lookup goes on and holds its thread until it ends."""
    with _changed:
        while key not in _pending and len(_pending) >= LOOKUPS:
            _changed.wait(deadline.left())
        answer = _pending.get(key) or _begun(key, ask)
    return answer.result(deadline.left())


def _begun(key: str, ask: Callable[[], Any]) -> Future[Any]:
    answer: Future[Any] = Future()

    def look_up() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:  # noqa: BLE001 — whoever waits for the answer gets it
            answer.set_exception(error)
        with _changed:
            del _pending[key]
            _changed.notify_all()

    threading.Thread(target=look_up, name=f"lookup-{key}"[:60], daemon=True).start()
    _pending[key] = answer
    return answer
