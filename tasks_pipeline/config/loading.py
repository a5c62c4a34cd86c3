"""Loading `tasks_pipeline.yaml`: YAML, secrets from the environment, and errors that name the line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from tasks_pipeline.config.document import Config

# The one in C, where PyYAML was built with it, takes a tenth of the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ConfigError(Exception):
    """The configuration cannot be used; the message has a line per mistake: where, what was found, what is allowed."""


def parse_config(
    text: str, source: str = "tasks_pipeline.yaml", environ: dict[str, str] | None = None
) -> Config:
    """The configuration in a YAML text. Raises ConfigError with a line per mistake."""
    try:
        root = yaml.compose(text, Loader=_LOADER)
        data = yaml.load(text, Loader=_LOADER)  # either of them is safe: it makes plain data only
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        raise ConfigError(f"{where}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{source}:1: found {type(data).__name__}, allowed is a mapping with `projects`")
    values = dict(os.environ) if environ is None else environ
    missing: list[str] = []
    data = _with_secrets(data, values, missing, ())
    if missing:
        raise ConfigError("\n".join(f"{source}: {m}" for m in missing))
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_mistakes(error, root, source))) from error


def load_config(path: Path) -> Config:
    """The configuration in a file. Raises ConfigError, also when the file cannot be read."""
    return parse_config(config_text(path), str(path))


def config_text(path: Path) -> str:
    """The text of a configuration file. Raises ConfigError when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error


def config_schema() -> dict[str, Any]:
    """JSON Schema of the file, for editors."""
    return Config.model_json_schema()


_SECRET = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


def _with_secrets(node: Any, environ: dict[str, str], missing: list[str], path: tuple[str | int, ...]) -> Any:
    """The same tree with every `${env:NAME}` replaced; names that are not set are added to `missing`."""
    if isinstance(node, dict):
        return {k: _with_secrets(v, environ, missing, (*path, k)) for k, v in node.items()}
    if isinstance(node, list):
        return [_with_secrets(v, environ, missing, (*path, i)) for i, v in enumerate(node)]
    if not isinstance(node, str):
        return node

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environ:
            missing.append(f"{_dotted(path)}: the environment variable {name} is not set")
        return environ.get(name, "")

    return _SECRET.sub(value, node)


def _mistakes(error: ValidationError, root: yaml.Node | None, source: str) -> Iterator[str]:
    mistakes = error.errors(include_url=False)
    paths = [mistake["loc"] for mistake in mistakes]
    for mistake in mistakes:
        path = mistake["loc"]
        if any(len(other) > len(path) and other[: len(path)] == path for other in paths):
            continue  # a list that is empty only because of the mistakes inside it
        found = "" if mistake["type"] == "missing" else f" (found {_short(mistake['input'])})"
        message = mistake["msg"].removeprefix("Value error, ")
        if mistake["type"] == "extra_forbidden":
            message = f"unknown field; allowed: {', '.join(_allowed(path[:-1]))}"
        yield f"{source}:{_line(root, path)}: {_dotted(path) or 'file'}: {message}{found}"


def _allowed(path: Sequence[str | int]) -> list[str]:
    model: Any = Config
    for part in path:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        arguments = [
            a for a in getattr(annotation, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)
        ]
        model = arguments[0] if arguments else annotation
    return sorted(model.model_fields)


def _line(node: yaml.Node | None, path: Sequence[str | int]) -> int:
    """Line (from 1) of the deepest node on the path that exists in the file."""
    line = node.start_mark.line + 1 if node else 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            hit = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if hit is None:
                return line
            line, node = hit[0].start_mark.line + 1, hit[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def _dotted(path: Sequence[str | int]) -> str:
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
