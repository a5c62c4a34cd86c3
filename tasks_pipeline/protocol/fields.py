"""Fields of events: how an object is brought into shape, and the checks of single values.

A check takes (value, notes, path of the parent, key) and returns the value to keep: the same object when nothing is
wrong with it, None when it must go. What fields the parts of an event have belongs to `stacks` and `shapes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from tasks_pipeline.protocol.bounds import MAX_ADDRESS, MAX_LINE_NUMBER
from tasks_pipeline.protocol.decode import encode_json
from tasks_pipeline.protocol.times import corrected, format_time, is_canonical_time, parse_time
from tasks_pipeline.protocol.trim import Notes, Path, cut_data, cut_text

Check = Callable[[Any, Notes, Path, str], Any]
Fields = dict[str, int | Check]
"""Fields of an object; a number stands for a text of at most so many characters."""


LEVELS = frozenset({"fatal", "error", "warning", "info", "debug"})
_LEVEL_ALIASES = {"warn": "warning", "log": "info", "critical": "fatal", "trace": "debug"}
_LEVEL_NUMBERS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "fatal"}

AUTO_ADDRESS = "{{auto}}"
_HEX = re.compile("0x[0-9a-fA-F]{1,16}")


def check_fields(node: dict[str, Any], fields: Fields, notes: Notes, path: Path) -> list[str]:
    """Bring an object into shape, in place; the keys it must not have are removed and returned."""
    unknown: list[str] = []
    gone: list[str] = []
    for key, value in node.items():
        check = fields.get(key)
        if check is None:
            unknown.append(key)
            continue
        if isinstance(check, int):
            if value.__class__ is str and len(value) <= check:
                continue
            kept = text(value, check, notes, path, key)
        else:
            kept = check(value, notes, path, key)
        if kept is None:
            gone.append(key)
        elif kept is not value:
            node[key] = kept
    for key in unknown:
        del node[key]
    for key in gone:
        del node[key]
    return unknown


def choose(values: list[Any], first: int, last: int, notes: Notes, path: Path) -> list[dict[str, Any]]:
    """The objects of a list that are not empty; of too many the `first` and the `last` ones."""
    if len(values) <= first + last and all(v.__class__ is dict and v for v in values):
        return values
    chosen = []
    for index, value in enumerate(values):
        if isinstance(value, dict):
            if value:
                chosen.append(index)
        elif value is not None:
            notes.invalid((*path, index), value)
    if len(chosen) > first + last:
        notes.cut(path, len(values))
        chosen = chosen[:first] + chosen[len(chosen) - last :]
    notes.moved(path, chosen)
    return [values[i] for i in chosen]


def objects(
    values: list[Any], first: int, last: int, fields: Fields, notes: Notes, path: Path
) -> list[dict[str, Any]]:
    """The chosen objects of a list, brought into shape; those that are empty then are removed."""
    chosen = choose(values, first, last, notes, path)
    for index, value in enumerate(chosen):
        check_fields(value, fields, notes, (*path, index))
    return chosen if all(chosen) else choose(chosen, first, last, notes, path)


# Single values


def text(value: Any, limit: int, notes: Notes, path: Path, key: str) -> str | None:
    """A text of at most `limit` characters; numbers and booleans become text."""
    if isinstance(value, str):
        return cut_text(value, limit, notes, (*path, key))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if value is not None:
        notes.invalid((*path, key))
    return None


def json_text(limit: int) -> Check:
    """A check for a text of at most `limit` characters; lists and objects become their JSON."""

    def check(value: Any, notes: Notes, path: Path, key: str) -> str | None:
        if isinstance(value, list | dict):
            value = encode_json(value).decode()
        return text(value, limit, notes, path, key)

    return check


def flag(value: Any, notes: Notes, path: Path, key: str) -> bool | None:
    if value is True or value is False or value is None:
        return value
    notes.invalid((*path, key), value)
    return None


def count(value: Any, notes: Notes, path: Path, key: str) -> int | None:
    """An integer from 0 to 2^31 - 1, such as a line number."""
    if value.__class__ is int and 0 <= value <= MAX_LINE_NUMBER:
        return int(value)
    number = None
    digits = isinstance(value, str) and len(value) <= 10 and value.isascii() and value.isdigit()
    if digits or (isinstance(value, float) and value.is_integer()):
        number = int(value)
    if number is not None and 0 <= number <= MAX_LINE_NUMBER:
        return number
    if value is not None:
        notes.invalid((*path, key), value)
    return None


def identifier(value: Any, notes: Notes, path: Path, key: str) -> int | str | None:
    """A number or a short text, such as a thread's id."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return text(value, 64, notes, path, key)


def address(value: Any, notes: Notes, path: Path, key: str) -> str | None:
    """An address in memory as hex with 0x, from that, a decimal text or a number."""
    if isinstance(value, str):
        if _HEX.fullmatch(value):
            return value
        if len(value) <= 20 and value.isascii() and value.isdigit() and int(value) <= MAX_ADDRESS:
            return hex(int(value))
    elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_ADDRESS:
        return hex(value)
    if value is not None:
        notes.invalid((*path, key), value)
    return None


def time(value: Any, notes: Notes, path: Path, key: str) -> str | None:
    if not notes.drift and is_canonical_time(value):
        return str(value)
    moment = parse_time(value)
    if moment is None or (moment := corrected(moment, notes.drift)) is None:
        if value is not None:
            notes.invalid((*path, key), value)
        return None
    return format_time(moment)


def level(value: Any, notes: Notes, path: Path, key: str) -> str | None:
    """A level by its name; other spellings and the numbers of Python's logging are understood."""
    if isinstance(value, str):
        if value in LEVELS:
            return value
        name = value.strip().lower()
        name = _LEVEL_ALIASES.get(name, name)
        if name.isascii() and name.isdigit() and len(name) == 2:
            name = _LEVEL_NUMBERS.get(int(name), name)
    else:
        name = _LEVEL_NUMBERS.get(int(value), "") if isinstance(value, int | float) else ""
    if name in LEVELS:
        return name
    if value is not None:
        notes.invalid((*path, key), value)
    return None


def name_check(limit: int, *refused: str) -> Check:
    """A check for a release, a distribution or an environment: one line of at most `limit` characters."""

    def check(value: Any, notes: Notes, path: Path, key: str) -> str | None:
        name = value.strip() if isinstance(value, str) else text(value, limit, notes, path, key)
        if not name:
            return None
        if len(name) > limit:
            notes.invalid((*path, key), value, "value_too_long")
        elif name.lower() in refused or not name.isprintable():
            notes.invalid((*path, key), value)
        else:
            return name
        return None

    return check


release = name_check(200, ".", "..")
dist = name_check(64)
environment = name_check(64, "none", ".", "..")


@lru_cache(4096)
def parse_address(value: str) -> str | None:
    """An IP address in its canonical form; None for anything else."""
    try:
        return str(ip_address(value))
    except ValueError:
        return None


def ip(value: Any, notes: Notes, path: Path, key: str) -> str | None:
    if value is None or value == "":
        return None
    if value == AUTO_ADDRESS:
        return AUTO_ADDRESS
    parsed = parse_address(value) if isinstance(value, str) and len(value) <= 64 else None
    if parsed is None:
        notes.invalid((*path, key), value)
    return parsed


def _id_check(pattern: re.Pattern[str]) -> Check:
    def check(value: Any, notes: Notes, path: Path, key: str) -> str | None:
        plain = value.replace("-", "").lower() if isinstance(value, str) and len(value) <= 64 else ""
        if pattern.fullmatch(plain):
            return plain
        if value is not None:
            notes.invalid((*path, key), value)
        return None

    return check


event_id = _id_check(re.compile("[0-9a-f]{32}"))
span_id = _id_check(re.compile("[0-9a-f]{16}"))


def data(limit: int) -> Check:
    """A check for free data of at most `limit` bytes of JSON."""

    def check(value: Any, notes: Notes, path: Path, key: str) -> Any:
        return cut_data(value, limit, notes, (*path, key)) if value is not None else None

    return check


def mapping(limit: int) -> Check:
    """A check for an object with free data of at most `limit` bytes of JSON; an empty one goes."""

    def check(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
        if value.__class__ is dict:
            return cut_data(value, limit, notes, (*path, key)) or None
        if value:
            notes.invalid((*path, key), value)
        return None

    return check


def shape(fields: Fields) -> Check:
    """A check for an object with the fields named; an empty one goes."""

    def check(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
        if value.__class__ is dict:
            check_fields(value, fields, notes, (*path, key))
            return value or None
        if value:
            notes.invalid((*path, key), value)
        return None

    return check


def values(first: int, last: int, fields: Fields) -> Check:
    """A check for {"values": [objects]}, which may also come as a bare list or a single object."""

    def check(value: Any, notes: Notes, path: Path, key: str) -> dict[str, Any] | None:
        given = value
        if isinstance(value, dict):
            given = value.get("values", [value])
        if isinstance(given, dict):
            given = [given]
        if not isinstance(given, list):
            if given:
                notes.invalid((*path, key), given)
            return None
        kept = objects(given, first, last, fields, notes, (*path, key, "values"))
        return {"values": kept} if kept else None

    return check
