"""The typed configuration file `tasks_pipeline.yaml`: its models, its loading, and errors that name the line.

Where things lie on disk is not configuration but `home.py`.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Category = Literal[
    "all", "error", "transaction", "session", "attachment", "monitor", "feedback", "security", "default"
]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,49}$")]
PublicKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{4,64}$")]

MIB = 1024 * 1024


class ConfigError(Exception):
    """The configuration cannot be used; the message has a line per mistake: where, what was found, what is allowed."""


class Model(BaseModel):
    """Base of every section: unknown fields are mistakes, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Quota(Model):
    """At most `limit` items of a category in every window; the rest is answered 429 and counted as rate_limited."""

    category: Category = Field("all", description="Data category the quota counts; `all` counts every item.")
    limit: int = Field(ge=0, description="Items allowed in a window; 0 refuses the category altogether.")
    window_seconds: int = Field(60, ge=1, le=86_400, description="Length of the window in seconds.")


class Key(Model):
    """A client key: the user part of a DSN."""

    public_key: PublicKey = Field(description="The DSN's public key.")
    name: str = Field("default", description="Shown to people.")
    enabled: bool = Field(True, description="A disabled key is answered 403.")
    quotas: tuple[Quota, ...] = Field((), description="Limits of this key, beside those of its project.")


class Project(Model):
    """One application that sends events."""

    id: int = Field(ge=1, lt=2**63, description="The number at the end of the DSN. Never reuse one.")
    slug: Slug = Field(description="Short name; the prefix of group ids (SHOP-3F).")
    name: str = Field("", description="Shown to people; the slug when empty.")
    platform: str = Field("other", description="Main platform, for people.")
    keys: tuple[Key, ...] = Field(min_length=1, description="Client keys; one is enough.")
    quotas: tuple[Quota, ...] = Field((), description="Limits of the whole project.")


class Organisation(Model):
    """Who runs this installation."""

    slug: Slug = "acme"
    name: str = "Acme"


class Receiver(Model):
    """The HTTP endpoint that SDKs talk to."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(9000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    public_url: str | None = Field(
        None, description="URL that clients use, when a proxy stands before the receiver."
    )
    trust_forwarded_for: bool = Field(False, description="Take the client's address from X-Forwarded-For.")
    max_body_bytes: int = Field(40 * MIB, ge=1024, description="Largest HTTP body, as sent.")
    max_envelope_bytes: int = Field(100 * MIB, ge=1024, description="Largest envelope after decompression.")
    max_event_bytes: int = Field(1 * MIB, ge=1024, description="Largest event, transaction or feedback item.")
    max_attachment_bytes: int = Field(40 * MIB, ge=0, description="Largest attachment.")
    max_items: int = Field(200, ge=1, description="Most items in one envelope.")
    min_free_disk_bytes: int = Field(
        256 * MIB, ge=0, description="Below this much free disk the answer is 503."
    )


class Processing(Model):
    """How runs of process_events drain the spool."""

    linger_seconds: float = Field(30, ge=0, description="How long a drain waits for new work before it ends.")
    max_run_seconds: float = Field(
        600, gt=0, description="After this long a drain ends and a fresh one is started."
    )
    batch_envelopes: int = Field(2500, ge=1, le=20_000, description="Most envelopes in one batch.")
    parallel_drains: int = Field(
        1,
        ge=1,
        le=64,
        description="Most drains at work on one day when much waits; more than 1 needs spare cores.",
    )
    batch_bytes: int = Field(32 * MIB, ge=1024, description="Most compressed bytes in one batch.")


class Retention(Model):
    """How long things are kept, in days."""

    raw_days: int = Field(
        7, ge=1, le=365, description="Raw envelopes in the spool; days in here can be recomputed."
    )


class Config(Model):
    """The whole file."""

    organisation: Organisation = Organisation()
    projects: tuple[Project, ...] = Field(min_length=1)
    receiver: Receiver = Receiver()
    processing: Processing = Processing()
    retention: Retention = Retention()

    @field_validator("projects")
    @classmethod
    def _unique(cls, projects: tuple[Project, ...]) -> tuple[Project, ...]:
        used: tuple[tuple[str, list[str]], ...] = (
            ("id", [str(p.id) for p in projects]),
            ("slug", [p.slug for p in projects]),
            ("public_key", [k.public_key for p in projects for k in p.keys]),
        )
        for what, values in used:
            twice = {value for value, times in Counter(values).items() if times > 1}
            if twice:
                raise ValueError(f"{what} used twice: {', '.join(sorted(twice))}")
        return projects

    @model_validator(mode="after")
    def _sizes(self) -> Config:
        if self.receiver.max_event_bytes > self.receiver.max_envelope_bytes:
            raise ValueError("receiver.max_event_bytes is larger than receiver.max_envelope_bytes")
        return self

    def project(self, project_id: int) -> Project | None:
        """The project with this number, or None."""
        return next((p for p in self.projects if p.id == project_id), None)


def default_config(public_key: str) -> Config:
    """What is used without a file: one organisation, one project `shop` with number 1 and one key."""
    return Config(projects=(Project(id=1, slug="shop", name="Shop", keys=(Key(public_key=public_key),)),))


def parse_config(
    text: str, source: str = "tasks_pipeline.yaml", environ: dict[str, str] | None = None
) -> Config:
    """The configuration in a YAML text. Raises ConfigError with a line per mistake."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
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
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return parse_config(text, str(path))


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
