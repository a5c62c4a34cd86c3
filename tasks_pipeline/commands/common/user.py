"""Who uses the command line: the user of this machine, by the name that it knows."""

from __future__ import annotations

import getpass


def user_name() -> str:
    """The name, or `unknown`: a container may run as a number without a name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
