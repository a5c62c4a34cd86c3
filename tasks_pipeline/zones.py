"""Time zones by the pinned zone data, so that two machines agree on what a day is. What is made of zones does not belong here.

Python prefers the zone files of the machine to the package `tzdata`; from the import of this module on, which the configuration
brings along, zones of all this process are those of the package.
"""

from __future__ import annotations

import zoneinfo
from importlib import metadata

zoneinfo.reset_tzpath(())
zoneinfo.ZoneInfo.clear_cache()


def zone_named(name: str) -> zoneinfo.ZoneInfo:
    """The zone of this name. Raises ValueError."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, LookupError, OSError):
        raise ValueError(
            f"{name[:64]!r} is not a time zone; allowed are names such as Europe/Berlin or UTC"
        ) from None


def zones_version() -> str:
    """The edition of the zone data, as `2026.3`."""
    return metadata.version("tzdata")
