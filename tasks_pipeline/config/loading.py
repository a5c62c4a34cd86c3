"""Loading `tasks_pipeline.yaml`: reading it, checking it, and the one error of all that is wrong."""

from __future__ import annotations

import logging
import os
import stat
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from tasks_pipeline.config.document import Config
from tasks_pipeline.config.explaining import explain, secrets_written_out, written_below
from tasks_pipeline.config.integrations import FOLDER
from tasks_pipeline.config.mistake import Mistake, UnreadableConfig, config_error
from tasks_pipeline.config.projects import Project
from tasks_pipeline.config.tracking import absent_files
from tasks_pipeline.config.written import MAX_BYTES, UNSET, Reading, read_yaml

log = logging.getLogger(__name__)


def parse_config(
    text: str,
    source: str = "tasks_pipeline.yaml",
    environ: Mapping[str, str] | None = None,
    *,
    projects: Callable[[], Sequence[Project]] | None = None,
    to_look: bool = False,
    used_up: Mapping[int, str] = MappingProxyType({}),
    folder: Path | None = None,
    look_at_files: bool = False,
    within: Callable[[str], str] = lambda _place: "",
) -> Config:
    """The configuration in a YAML text. Raises ConfigError with a line per mistake, and nothing else.

    `projects` gives those of a text that names none. With `to_look` variables that are not set are no mistakes: the result is
    for those who look things up, and send nothing. `used_up` are numbers that no project may have any more, with the day of its deletion.
    Relative names of files start from `folder`. With `look_at_files` one that is not there is a mistake: not for a service at work, which
    a file that went away must not stop. `within` says of which of our own stores a folder or URL is a part, empty for none.
    """
    reading = read_yaml(text, os.environ if environ is None else environ, to_look=to_look)
    if (
        projects is not None
        and reading.root is not None
        and "projects" not in (reading.root.fields or {"projects"})
    ):
        reading.root.value["projects"] = tuple(projects())
    config = _checked(reading, folder)
    reading.mistakes += secrets_written_out(reading, Config)
    if config is not None:
        reading.mistakes += [*_used_up(config, reading, used_up), *_own_places(config, reading, within)]
    if config is not None and look_at_files:
        reading.mistakes += (
            Mistake(_line_of(reading, path), path, said) for path, said in absent_files(config)
        )
    if config is None or reading.mistakes:
        # Outside of every `except`: the error of pydantic, which an error report would show along, holds all values.
        raise config_error(source, reading.mistakes)
    return config


def _used_up(config: Config, reading: Reading, used_up: Mapping[int, str]) -> Iterator[Mistake]:
    for number, project in enumerate(config.projects):
        if project.id in used_up:
            said = f"project {project.id} was deleted on {used_up[project.id]}, and numbers are never used again: take another"
            path = ("projects", number, "id")
            yield Mistake(_line_of(reading, path), path, said)


def _own_places(config: Config, reading: Reading, within: Callable[[str], str]) -> Iterator[Mistake]:
    places: dict[tuple[str | int, ...], str | None] = {
        ("retention", "archive_url"): config.retention.archive_url,
        ("backup", "to"): config.backup.to,
    }
    for path, place in places.items():
        # Those who only look need no variables.
        if place is not None and not place.startswith(UNSET) and (what := within(place)):
            said = f"lies within {what}: what takes one would take both; allowed is a folder on another disk, or object storage apart"
            yield Mistake(_line_of(reading, path), path, said)


def _line_of(reading: Reading, path: tuple[str | int, ...]) -> int:
    """Line of what stands at a place, or of the last thing on the way to it."""
    written, line = reading.root, 0
    for part in path:
        below, found = written_below(written, part)
        if found is None:
            return line
        written, line = found, below
    return line


def load_config(path: Path) -> Config:
    """The configuration in a file. Raises ConfigError, also when the file cannot be read."""
    return parse_config(config_text(path), str(path), folder=path.parent)


def config_text(path: Path) -> str:
    """The text of a configuration file. Raises UnreadableConfig."""
    try:
        # A named pipe that nobody writes to would be waited for; `config check <(…)` is another kind of pipe.
        if stat.S_ISFIFO(path.stat().st_mode) and os.path.exists(os.path.realpath(path)):
            raise _unreadable(path, "it is a named pipe; allowed is a file")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(path, getattr(error, "strerror", None) or str(error)) from error
    if len(raw) > MAX_BYTES:
        raise _unreadable(path, f"it is larger than {MAX_BYTES} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        said = f"it is not UTF-8: byte 0x{raw[error.start]:02x} in line {line}"
    raise _unreadable(path, said)


def config_schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors. A file without projects has the default one, which each home has its own of."""
    schema = Config.model_json_schema()
    schema["required"].remove("projects")
    return schema


def _unreadable(path: Path, reason: str) -> UnreadableConfig:
    mistake = Mistake(0, (), f"cannot be read: {reason}")
    return UnreadableConfig(mistake.text(str(path)), (mistake,))


def _checked(reading: Reading, folder: Path | None) -> Config | None:
    """The configuration that was read; None, and mistakes in the reading, when it cannot be used."""
    if reading.root is None:
        if not reading.mistakes:
            reading.mistakes.append(Mistake(1, (), "found nothing, allowed is a mapping with `projects`"))
        return None
    if reading.root.fields is None:
        found = f"found {reading.root.what}, allowed is a mapping with `projects`"
        reading.mistakes.append(Mistake(reading.root.line, (), found))
        return None
    try:
        return Config.model_validate(reading.root.value, context={FOLDER: folder})
    except ValidationError as error:
        reading.mistakes += explain(error, Config, reading)
    except (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError) as error:
        # A validator of ours did what it must not. Its words may hold a secret, its place does not.
        at = traceback.extract_tb(error.__traceback__)[-1]
        said = f"it cannot be checked: {type(error).__name__} in {at.name}, line {at.lineno}"
        reading.mistakes.append(Mistake(0, (), said))
    return None
