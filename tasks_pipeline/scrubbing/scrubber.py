"""The scrubber of a project: takes secrets and personal data out of normalised events and other plain data."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from enum import Enum, auto
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec

from tasks_pipeline.protocol.decode import PayloadError, decode_json, encode_json
from tasks_pipeline.recurring import SharedFrames, own_frames, shared_stacks
from tasks_pipeline.scrubbing.looks import FILTERED, Found
from tasks_pipeline.scrubbing.marks import Marks, Path
from tasks_pipeline.scrubbing.names import Names
from tasks_pipeline.scrubbing.texts import TextRules, is_harmless

if TYPE_CHECKING:
    from tasks_pipeline.config.scrubbing import Scrubbing

# Ids, times and enumerations, which normalisation has checked; and what has its own way.
_FACTS = frozenset(
    "event_id type level timestamp received start_timestamp duration_ms spans trace_id span_id _meta".split()
)
# Facts about programs: names in here are those of packages, and numbers their versions.
_PROGRAM = ("modules", "debug_meta", "sdk")
_STACKS = ("stacktrace", "raw_stacktrace")
_CARRIERS = ("exception", "threads")
_APART = frozenset(
    (*_FACTS, *_PROGRAM, *_CARRIERS, *_STACKS, "fingerprint", "errors", "breadcrumbs", "request")
)
_DATA_OF_FRAMES = ("vars", "data", "lock")
"""The rest of a frame is source code and where it is."""

_COOKIES = ("request", "cookies")
"""A list of pairs: names of cookies stay."""

_MARK_FIELDS = ("rem", "len", "err")
_LONGEST_JSON = 65_536  # characters of a text that is read as JSON
_SHORT = 8192  # bytes that are looked through as fast as somebody is asked what is known of them
_LEVELS_OF_JSON = 2  # JSON in texts of JSON in texts
_LEVELS_LOOKED_AT = 7  # of the event: whether a part of it is clean is asked on so many levels
_LEAST_LONG_NUMBER = 10**11


class Piece(Enum):
    """What of an event is judged as a whole: the variables of frames, breadcrumbs, the request, source code and where it is with all
    facts about programs, and the rest."""

    VARIABLES = auto()
    BREADCRUMBS = auto()
    REQUEST = auto()
    CODE = auto()
    REST = auto()


_PIECES = {"breadcrumbs": Piece.BREADCRUMBS, "request": Piece.REQUEST}


class Scrubber:
    """The settings of a project at work. Whatever lies in the data it never raises; its time is linear in the size."""

    def __init__(self, settings: Scrubbing) -> None:
        self._settings = settings
        self._names = Names(settings.defaults, settings.fields, settings.safe_fields)
        self._rules = TextRules(settings, self._names)

    def scrub(
        self, event: dict[str, Any], source: bytes | None = None, variables: Sequence[bytes] | None = None
    ) -> None:
        """Take out of a normalised event, in place, what must go, with marks in `_meta`. Doing it again changes nothing.

        `source` is the JSON that the event was made of, if it was, and `variables` that of the frames of its exceptions, if it
        stayed as it was: that saves writing the larger part of it again.
        """
        if not self._settings.enabled:
            return
        if variables is None:
            own_frames(event)
        meta = event.get("_meta")
        if isinstance(meta, dict):
            meta = event["_meta"] = self._scrubbed_meta(meta)
        dirty = self._dirty(event, source, variables)
        if not dirty:
            return
        if Piece.CODE in dirty:
            own_frames(event)
        marks = Marks(meta if isinstance(meta, dict) else {})
        if self._settings.ip_addresses == "remove":
            _remove_address(event, marks)
        _Walk(self._names, self._rules, marks).event(event, dirty)
        if marks.meta:
            event["_meta"] = marks.meta

    def text(self, text: str) -> str:
        """A text that stands alone, such as the message of a report, without what must go."""
        return _Walk(self._names, self._rules, Marks({})).text(text, ()) if self._settings.enabled else text

    def _dirty(
        self, event: dict[str, Any], source: bytes | None, variables: Sequence[bytes] | None = None
    ) -> frozenset[Piece]:
        """The pieces of an event in which there may be something to do; none, of nearly all events. Looks at the JSON of each
        as a whole."""
        clean, found = self._rules.is_clean_json, set[Piece]()
        if not clean(self._code(event, source), code=True):
            found.add(Piece.CODE)
        for name, piece in _PIECES.items():
            if name in event and not clean(encode_json(event[name])):
                found.add(piece)
        holders = {name: [holder for _, holder in _values(event.get(name))] for name in _CARRIERS}
        if not clean(encode_json(_rest(event, chain(*holders.values())))):
            found.add(Piece.REST)
        known = variables or ()
        if variables is not None:
            del holders["exception"]
        data = [value for holder in (event, *chain(*holders.values())) for value in _data_of_stacks(holder)]
        if not clean(b"\n".join(known)) or (data and not clean(encode_json(data))):
            found.add(Piece.VARIABLES)
        return frozenset(found)

    def _code(self, event: dict[str, Any], source: bytes | None) -> bytes:
        """JSON in which all code of an event is that may not be clean."""
        if source is None:
            return encode_json(event)
        if len(source) > _SHORT:
            shared = shared_stacks(event)
            if shared is not None and all(map(self._rules.is_clean_stack, shared)):
                return encode_json([event[name] for name in _PROGRAM if name in event])
        return source

    def _scrubbed_meta(self, meta: dict[str, Any]) -> dict[str, Any]:
        """The client's notes without the values it noted (`val`, reasons of errors), which are what it took out."""
        json = encode_json(meta)
        if b'"val"' in json or b'"err"' in json or not self._rules.is_clean_json(json, code=True):
            return _Walk(self._names, self._rules, Marks({})).notes(meta)
        return meta


def _rest(event: dict[str, Any], carriers: Iterable[dict[str, Any]]) -> list[Any]:
    """What of an event is data and no variable; `carriers` are those of its stacks."""
    return [
        {name: value for name, value in event.items() if name not in _APART},
        event.get("fingerprint"),
        event.get("errors"),
        *({name: value for name, value in carrier.items() if name not in _STACKS} for carrier in carriers),
    ]


def _data_of_stacks(carrier: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for stack in _STACKS:
        if stack in carrier:
            frames = _frames(carrier[stack])
            for name in _DATA_OF_FRAMES:
                found += [frame[name] for frame in frames if name in frame]
    return found


class _Walk:
    """One way through plain data, changing it in place; `marks` counts the changes."""

    def __init__(self, names: Names, rules: TextRules, marks: Marks, levels: int = _LEVELS_OF_JSON) -> None:
        self._names, self._rules, self._marks = names, rules, marks
        self._levels = levels  # of JSON in texts, still to be read

    def event(self, event: dict[str, Any], dirty: Container[Piece]) -> None:
        """The parts of a normalised event, or of what has fields of one, that are not clean."""
        if Piece.REST in dirty:
            self._rest(event)
        for name, piece in _PIECES.items():
            if piece in dirty:
                event[name] = self.value(event[name], (name,))
        for name in _PROGRAM:
            if name in event and Piece.CODE in dirty:
                event[name] = self.value(event[name], (name,), code=True)
        self._stacks(event, (), dirty)
        for name in _CARRIERS:
            for index, carrier in _values(event.get(name)):
                self._carrier(carrier, (name, "values", index), dirty)

    def _rest(self, event: dict[str, Any]) -> None:
        entry = event.get("logentry")
        entry = entry if isinstance(entry, dict) else {}
        formatted = entry.get("formatted")
        for name in event:
            if name not in _APART:
                event[name] = self.value(event[name], (name,))
        for index, text in enumerate(event.get("fingerprint") or ()):
            event["fingerprint"][index] = self.value(text, ("fingerprint", index))
        for index, error in enumerate(event.get("errors") or ()):
            if "value" in error:
                rule = self._names.rule(str(error.get("name")))
                error["value"] = self.value(error["value"], ("errors", index, "value"), rule)
        if isinstance(formatted, str) and entry["formatted"] != formatted:
            self._parameters(entry, formatted)

    def value(self, value: Any, path: Path, rule: str = "", *, code: bool = False) -> Any:
        """Any data without what must go. `rule`: a secret name covers it, so that every value in it goes."""
        kind = value.__class__
        if kind is str:
            return self._covered(value, path, rule) if rule else self.text(value, path, code=code)
        if kind is int or kind is float:
            return self._number(value, path, rule, code)
        if kind is msgspec.Raw:
            return self._raw(value, path, rule, code)
        if kind is not dict and kind is not list:
            return value
        looked_at = not rule and len(path) <= _LEVELS_LOOKED_AT
        if looked_at and self._rules.is_clean_json(encode_json(value), code=code):
            return value
        if kind is dict:
            return self._object(value, path, rule, code)
        return self._list(value, path, rule, code)

    def text(self, text: str, path: Path, *, code: bool = False) -> str:
        """A text without what must go."""
        if self._rules.is_clean(text, code=code):
            return text
        opened = text if code else self._json_text(text)
        found = self._rules.find(opened, code=code)
        kept = _with(opened, found) if found else opened
        if kept is not text:
            self._marks.replaced(path, found if opened is text else [(0, len(text), "json", kept)], len(text))
        return kept

    def notes(self, meta: dict[str, Any]) -> dict[str, Any]:
        """What a client noted in `_meta`, without values."""
        kept: dict[str, Any] = {}
        for name, node in meta.items():
            if name == "" and isinstance(node, dict):
                kept[name] = {field: node[field] for field in _MARK_FIELDS if field in node}
                if isinstance(errors := node.get("err"), list):
                    codes = (error[0] if isinstance(error, list) and error else error for error in errors)
                    kept[name]["err"] = [code for code in codes if isinstance(code, str)]
            elif isinstance(node, dict):
                kept[self._key(name)] = self.notes(node)
        return kept

    def _parameters(self, entry: dict[str, Any], formatted: str) -> None:
        """Parameters of a message go as well if they are what had to go from the message that was made with them."""
        params: Any = entry.get("params")
        for place, value in _items(params):
            text = str(value)
            if text and text in formatted and text not in entry["formatted"]:
                params[place] = FILTERED
                self._marks.substituted(("logentry", "params", place), "password", len(text))

    def _carrier(self, carrier: dict[str, Any], path: Path, dirty: Container[Piece]) -> None:
        """An exception or a thread."""
        if Piece.REST in dirty:
            for name in carrier:
                if name not in _STACKS:
                    carrier[name] = self.value(carrier[name], (*path, name))
        self._stacks(carrier, path, dirty)

    def _stacks(self, carrier: dict[str, Any], path: Path, dirty: Container[Piece]) -> None:
        if Piece.VARIABLES in dirty or Piece.CODE in dirty:
            for name in _STACKS:
                frames = _frames(carrier.get(name))
                if isinstance(frames, SharedFrames):
                    self._variables(frames, (*path, name, "frames"))
                    continue
                for index, frame in enumerate(frames):
                    self._frame(frame, (*path, name, "frames", index), dirty)

    def _variables(self, frames: SharedFrames, path: Path) -> None:
        """The variables of frames that other events share, in which nothing else has to be done."""
        places = [place for place, has_any in enumerate(frames.stack.with_variables) if has_any]
        for number, (place, json) in enumerate(zip(places, frames.variables, strict=True)):
            frames.variables[number] = encode_json(
                self._raw(msgspec.Raw(json), (*path, place, "vars"), "", False)
            )

    def _frame(self, frame: dict[str, Any], path: Path, dirty: Container[Piece]) -> None:
        code = [name for name in frame if name not in _DATA_OF_FRAMES] if Piece.CODE in dirty else []
        if code and not self._rules.is_clean_json(encode_json([frame[name] for name in code]), code=True):
            for name in code:
                frame[name] = self.value(frame[name], (*path, name), code=True)
        for name in _DATA_OF_FRAMES:
            if name in frame and Piece.VARIABLES in dirty:
                frame[name] = self.value(frame[name], (*path, name))

    def _object(self, value: dict[str, Any], path: Path, rule: str, code: bool) -> dict[str, Any]:
        renamed: dict[str, str] = {}
        for name, item in value.items():
            if not code and self._names.is_safe(name):
                continue
            key = self._key(name)
            if key != name:
                renamed[name] = key
            covering = rule or ("" if code else self._names.rule(name))
            value[name] = self.value(item, (*path, key), covering, code=code)
        if renamed:
            items = [(renamed.get(name, name), item) for name, item in value.items()]
            value.clear()
            for name, item in items:
                value.setdefault(name, item)
        return value

    def _list(self, value: list[Any], path: Path, rule: str, code: bool) -> list[Any]:
        if not code and len(value) == 2 and isinstance(value[0], str):  # a name and its value?
            if self._names.is_safe(value[0]):
                return value
            if covering := self._covering(value[0], path, rule):
                value[1] = self.value(value[1], (*path, 1), covering)
                return value
        for index, item in enumerate(value):
            value[index] = self.value(item, (*path, index), rule, code=code)
        return value

    def _covering(self, name: str, path: Path, rule: str) -> str:
        """The rule for the second of a pair. In a list that is secret as a whole, only cookies are names and values."""
        if rule:
            return rule if path[:-1] == _COOKIES else ""
        return self._names.rule(name)

    def _raw(self, value: msgspec.Raw, path: Path, rule: str, code: bool) -> Any:
        json = bytes(value)
        if not rule and self._rules.is_clean_json(json, code=code):
            return value
        before = self._marks.count
        data = self.value(decode_json(json), path, rule, code=code)
        return data if self._marks.count > before else value

    def _number(self, value: int | float, path: Path, rule: str, code: bool) -> Any:
        if not rule and value.__class__ is int and value >= _LEAST_LONG_NUMBER:
            found = self._rules.find(str(value), code=code)
            rule = found[0][2] if found else ""
        if not rule:
            return value
        self._marks.substituted(path, rule)
        return FILTERED

    def _covered(self, text: str, path: Path, rule: str) -> str:
        if is_harmless(text):
            return self.text(text, path)
        self._marks.substituted(path, rule, len(text))
        return FILTERED

    def _key(self, name: str) -> str:
        """A key; one that is a secret itself without it."""
        if self._rules.is_clean_name(name):
            return name
        found = [each for each in self._rules.find(name) if each[2] != "password"]
        if not found:
            return name
        self._marks.count += 1
        return _with(name, found)

    def _json_text(self, text: str) -> str:
        """A text that is JSON, without what must go from the data in it; the same text when nothing must."""
        if not self._levels or len(text) > _LONGEST_JSON or text.lstrip()[:1] not in ("{", "["):
            return text
        try:
            data = decode_json(text.encode())
        except PayloadError:
            return text
        marks = Marks({})
        data = _Walk(self._names, self._rules, marks, self._levels - 1).value(data, ())
        return encode_json(data).decode() if marks.count else text


def _with(text: str, found: list[Found]) -> str:
    """The text with what was found replaced."""
    pieces: list[str] = []
    place = 0
    for start, end, _, kept in found:
        pieces += (text[place:start], kept)
        place = end
    return "".join((*pieces, text[place:]))


def _items(holder: Any) -> list[tuple[Any, Any]]:
    """Keys or positions of an object or a list, with what lies there."""
    if isinstance(holder, dict):
        return list(holder.items())
    return list(enumerate(holder)) if isinstance(holder, list) else []


def _remove_address(event: dict[str, Any], marks: Marks) -> None:
    """Remove the user's IP address, since "[Filtered]" is none."""
    user = event.get("user")
    if isinstance(user, dict) and user.pop("ip_address", None) is not None:
        marks.removed(("user", "ip_address"), "ip")
        if not user:
            del event["user"]


def _values(holder: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects in {"values": [...]} with their positions."""
    values = holder.get("values") if isinstance(holder, dict) else None
    for index, value in enumerate(values if isinstance(values, list) else ()):
        if isinstance(value, dict):
            yield index, value


def _frames(stack: Any) -> list[dict[str, Any]] | SharedFrames:
    """The frames of a normalised stack, which are objects."""
    return stack.get("frames") or [] if isinstance(stack, dict) else []
