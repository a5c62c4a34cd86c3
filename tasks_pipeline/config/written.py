"""The configuration file as it is written: YAML with the line of every value, secrets put in, and bounds on all of it.

Nothing here knows what the fields mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from tasks_pipeline.config.mistake import Mistake, Path

MAX_BYTES = 10 * 1024 * 1024
"""A file may be so large, and what the environment puts into it."""
MAX_VALUES = 250_000
"""A file may hold so many values, each counted where an alias repeats it: aliases of aliases grow without end."""
MAX_DEPTH = 60
"""Fields may lie so deep; what we know of lies at eight."""

# The one in C, where PyYAML was built with it, takes a tenth of the time.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Any = Resolver()
_PREFIX = "tag:yaml.org,2002:"
_MERGE = _PREFIX + "merge"
_KINDS = {
    "bool": "true or false",
    "float": "a number",
    "int": "a number",
    "timestamp": "a date",
    "binary": "binary data",
}
_REFERENCE = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_LIKE_A_REFERENCE = re.compile(r"\$\{\s*env\s*[:}]", re.IGNORECASE)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(slots=True, eq=False)
class Written:
    """A value of the file. An alias is the very value it refers to."""

    line: int
    value: Any = None
    text: str = ""
    """How the file spells it, before secrets were put in; of scalars only."""
    kind: str = ""
    """As what YAML reads a plain scalar that is not text: `a number`, `a date`, `true or false`; else empty."""
    fields: dict[str, tuple[int, Written]] | None = None
    """Of a mapping: line of the name, and value, of each field."""
    entries: list[Written] | None = None
    """Of a list."""
    secret: bool = False
    """Whether something in it came from the environment."""
    faulty: bool = False
    """Whether a mistake was told already of the value itself: what else is wrong with it follows from that."""
    doubtful: bool = False
    """Whether it or something in it is faulty: nothing can be concluded from what it holds as a whole."""
    values: int = 1
    depth: int = 0

    @property
    def what(self) -> str:
        """What kind of thing it is, in words."""
        if self.fields is not None:
            return "a mapping"
        if self.entries is not None:
            return "a list"
        return "nothing" if self.value is None else self.kind or "a text"


@dataclass(slots=True)
class Reading:
    """A file that was read: `root` is None where there is nothing to go on with."""

    root: Written | None = None
    mistakes: list[Mistake] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    """Every text that holds something of the environment, and how the file spells it."""


class _Stop(Exception):
    """Nothing after this place can be made sense of."""


@dataclass(slots=True)
class _Open:
    """A collection whose end was not read yet."""

    written: Written
    anchor: str | None
    key: str | None = None
    key_line: int = 0
    waits_for_key: bool = True
    merges: list[Written] = field(default_factory=list)
    merge_key: bool = False
    reference_key: bool = False

    @property
    def is_between(self) -> bool:
        """Whether it is a mapping whose next field was not named yet."""
        return self.written.fields is not None and self.waits_for_key

    @property
    def at(self) -> str | int:
        return len(self.written.entries) if self.written.entries is not None else self.key or ""


UNSET = "unset-"
"""What stands for the value of a variable that is not set, before its name, for those who only look."""


def read_yaml(text: str, environ: Mapping[str, str], *, to_look: bool = False) -> Reading:
    """Read a YAML text and put `${env:NAME}` in; what is wrong with it is in the result, nothing is raised.

    With `to_look` something stands for what is not set, since whoever only looks needs no secrets.
    """
    reading = Reading()
    strange = _UNPRINTABLE.search(text.removeprefix("\ufeff"))
    if strange:
        line = text.count("\n", 0, strange.start() + 1) + 1
        said = f"the character U+{ord(strange[0]):04X} is not allowed in YAML"
        reading.mistakes.append(Mistake(line, (), said))
        return reading
    if len(text) > MAX_BYTES:
        reading.mistakes.append(Mistake(0, (), _too_large()))
        return reading
    reader = _Reader(reading, environ, to_look)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            reader.take(event)
    except yaml.YAMLError as error:
        reading.root = None
        reading.mistakes.append(_not_yaml(error, text))
    except _Stop:
        reading.root = None
    return reading


def too_large(size: int) -> bool:
    """Whether a file of so many bytes is too large to be read."""
    return size > MAX_BYTES


def _too_large() -> str:
    return f"larger than {MAX_BYTES // (1024 * 1024)} MiB; allowed are {MAX_BYTES} bytes"


def _not_yaml(error: yaml.YAMLError, text: str) -> Mistake:
    """Without the excerpt that PyYAML shows: there may be a secret in it."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be read"
    begun = getattr(error, "context_mark", None)
    if begun is not None and mark is not None and begun.line < mark.line:
        problem += f" ({getattr(error, 'context', None)}, which begins in line {begun.line + 1})"
    line = next(iter(text.split("\n")[mark.line : mark.line + 1]), "") if mark else ""
    if line[: mark.column + 1 if mark else 0].endswith("\t"):
        problem = "a tab where a field begins; allowed are blanks"
    elif re.search(r"[:\[,{]\s*\$\{env:", line):
        problem += "; within [ ] and { } a reference needs quotes, as '${env:NAME}'"
    number = min(mark.line, text.count("\n")) + 1 if mark else 0  # the end of a file may be a line further
    return Mistake(number, (), f"not YAML: {problem}")


class _Reader:
    """Puts a tree together from the parser's events, without recursion."""

    def __init__(self, reading: Reading, environ: Mapping[str, str], to_look: bool) -> None:
        self._reading = reading
        self._environ = environ
        self._to_look = to_look
        self._open: list[_Open] = []
        self._anchors: dict[str, Written | None] = {}
        self._documents = 0
        self._values = 0
        self._grown = 0

    def take(self, event: yaml.Event) -> None:
        """The next event. Raises _Stop."""
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.ScalarEvent):
            self._count(line)
            self._scalar(event, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._count(line)
            self._begin(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor or "", line)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._stop(line, "a second document (`---`) begins here; allowed is one")

    def _count(self, line: int, values: int = 1) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            self._stop(line, f"more than {MAX_VALUES} values")

    def _path(self) -> Path:
        return tuple(each.at for each in self._open if not each.is_between)

    def _tell(self, line: int, said: str, path: Path | None = None) -> None:
        self._reading.mistakes.append(Mistake(line, self._path() if path is None else path, said))

    def _stop(self, line: int, said: str) -> NoReturn:
        self._tell(line, said)
        raise _Stop

    def _is_key(self) -> bool:
        return bool(self._open) and self._open[-1].is_between

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        tag = event.tag
        if tag is None or tag == "!":
            tag = _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)
        written = Written(line, event.value, event.value)
        if event.anchor:
            self._anchors[event.anchor] = written
        if self._is_key():
            return self._key(event.value, tag == _MERGE, line)
        name = tag.removeprefix(_PREFIX)
        # YAML 1.1 takes 22:00 for the number 1320; nobody who writes it does.
        clock = event.tag is None and name in ("int", "float") and ":" in event.value
        if clock or name in ("str", "merge", "value"):
            self._put_secrets_in(written)
        else:
            self._construct(written, name, event)
        self._add(written)
        return None

    def _construct(self, written: Written, name: str, event: yaml.ScalarEvent) -> None:
        """The value of a scalar that is not text."""
        make = SafeConstructor.yaml_constructors.get(_PREFIX + name)
        if make is None or name not in ("bool", "float", "int", "null", "timestamp", "binary"):
            written.faulty = True
            self._tell(written.line, f"the tag {event.tag} is not allowed")
            return
        node = yaml.ScalarNode(_PREFIX + name, event.value)
        try:
            written.value = make(SafeConstructor(), node)
            written.kind = _KINDS.get(name, "")
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError, yaml.YAMLError):
            # PyYAML's own constructors raise whatever the conversion raises.
            written.faulty = True
            as_what = _KINDS.get(name, name)
            self._tell(
                written.line, f"YAML takes this for {as_what}, but it is none; a text is written in quotes"
            )

    def _put_secrets_in(self, written: Written) -> None:
        text, unset = written.text, []
        if "${" not in text:
            return
        if _LIKE_A_REFERENCE.search(_REFERENCE.sub("", text)):
            written.faulty = True
            self._tell(
                written.line,
                "a reference to the environment that cannot be read; "
                "allowed is ${env:NAME} with a NAME of letters, digits and _",
            )
            return
        pieces: list[str] = []
        end = 0
        for match in _REFERENCE.finditer(text):
            value = self._environ.get(match[1])
            if value is None and self._to_look:
                value = self._stand_in(match[1], whole=match[0] == text)
            if value is None:
                unset.append(match[1])
                continue
            pieces += (text[end : match.start()], value)
            self._grown += len(value)
            end = match.end()
            if value:
                self._reading.secrets.setdefault(value, match[0])
            if self._grown > MAX_BYTES:
                self._stop(
                    written.line, f"the environment puts more than {MAX_BYTES} bytes into the configuration"
                )
        for name in dict.fromkeys(unset):
            self._tell(written.line, f"the environment variable {name} is not set")
        if unset:
            written.faulty = True
        elif pieces:
            written.secret = True
            written.value = "".join((*pieces, text[end:]))
            if written.value:
                self._reading.secrets.setdefault(written.value, text)

    def _stand_in(self, name: str, *, whole: bool) -> str:
        """What may stand in the field at hand: an address, or a word."""
        field = next((at for at in reversed(self._path()) if isinstance(at, str)), "")
        word = f"{UNSET}{name.lower()}"[:50]
        return f"https://{word.replace('_', '-')}.invalid" if whole and "url" in field else word

    def _begin(self, event: yaml.CollectionStartEvent, line: int) -> None:
        if self._is_key():
            self._stop(line, "a list or mapping as the name of a field; allowed is a text")
        if len(self._open) >= MAX_DEPTH:
            self._stop(line, f"more than {MAX_DEPTH} lists and mappings within each other")
        is_list = isinstance(event, yaml.SequenceStartEvent)
        written = Written(line, entries=[]) if is_list else Written(line, fields={})
        if event.tag not in (None, "!", _PREFIX + ("seq" if is_list else "map")):
            written.faulty = True
            self._tell(line, f"the tag {event.tag} is not allowed")
        if event.anchor:
            self._anchors[event.anchor] = None
        self._open.append(_Open(written, event.anchor))

    def _end(self) -> None:
        done = self._open.pop()
        written = done.written
        if written.fields is not None:
            merged: dict[str, tuple[int, Written]] = {}
            for source in done.merges:
                merged.update(source.fields or {})
            for name in merged.keys() - written.fields.keys():
                written.values += merged[name][1].values
                written.depth = max(written.depth, merged[name][1].depth + 1)
            written.fields = merged | written.fields
            written.value = {name: each.value for name, (_, each) in written.fields.items()}
            children: Iterator[Written] = (each for _, each in written.fields.values())
        else:
            written.value = [each.value for each in written.entries or ()]
            children = iter(written.entries or ())
        for child in children:
            written.secret |= child.secret
            written.doubtful |= child.faulty or child.doubtful
        if done.anchor:
            self._anchors[done.anchor] = written
        self._add(written)

    def _alias(self, name: str, line: int) -> None:
        if name not in self._anchors:
            self._stop(line, f"not YAML: there is no anchor &{name} before this alias")
        target = self._anchors[name]
        if target is None:
            self._stop(line, f"the alias *{name} refers to what it is a part of")
        elif not self._is_key():
            self._add(target, line)
        elif target.fields is None and target.entries is None:
            self._key(target.text, False, line)
        else:
            self._stop(line, "a list or mapping as the name of a field; allowed is a text")

    def _key(self, name: str, is_merge: bool, line: int) -> None:
        """A name of a field is a text, whatever YAML takes it for: `on:` and `2024:` mean what they look like."""
        parent = self._open[-1]
        parent.waits_for_key = False
        parent.key, parent.key_line = name, line
        parent.merge_key, parent.reference_key = is_merge, False
        if is_merge or parent.written.fields is None:
            return
        if name in parent.written.fields:
            first = parent.written.fields[name][0]
            self._tell(line, f"this field stands in line {first} already; allowed is once")
            parent.written.doubtful = True
        if _LIKE_A_REFERENCE.search(name):
            self._tell(line, "a reference to the environment in the name of a field; allowed is in a value")
            parent.reference_key = True

    def _add(self, written: Written, line: int | None = None) -> None:
        """A value that is complete goes where it belongs."""
        if not self._open:
            self._reading.root = written
            return
        parent = self._open[-1]
        into = parent.written
        if into.entries is not None:
            into.entries.append(written)
        elif parent.merge_key:
            self._merge(parent, written, line or written.line)
            parent.waits_for_key = True
            return
        elif parent.reference_key:
            into.doubtful = True
            parent.waits_for_key = True
        elif into.fields is not None:
            into.fields.setdefault(parent.key or "", (parent.key_line, written))
            parent.waits_for_key = True
        into.values += written.values
        into.depth = max(into.depth, written.depth + 1)
        if into.values > MAX_VALUES or into.depth > MAX_DEPTH:
            self._stop(
                line or written.line, f"aliases make more than {MAX_VALUES} values, or {MAX_DEPTH} levels"
            )

    def _merge(self, parent: _Open, written: Written, line: int) -> None:
        """`<<`: of several in a list the first wins."""
        sources = written.entries if written.entries is not None else [written]
        if any(source.fields is None for source in sources):
            self._tell(line, "`<<` takes over the fields of a mapping; allowed are *NAME and lists of them")
            parent.written.faulty = True
            return
        for source in sources:
            self._count(line, len(source.fields or ()))
        parent.merges += reversed(sources)
