"""Every model of the configuration, with a small document that reaches it: walked from the annotations alone."""

from __future__ import annotations

import copy
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from tasks_pipeline.config import Config
from tasks_pipeline.config.alerts import AlertRule, Condition, Metric
from tasks_pipeline.config.ownership import Ownership
from tasks_pipeline.config.web import Web

_TEXTS: dict[str, Any] = {
    "public_key": "abcd", "email": "ann@acme.example", "url": "https://acme.example/x", "schedule": "0 3 * * *",
    "start": "22:00", "end": "07:00", "notify": ["members"], "owners": ["team:a"], "keys": [{"public_key": "abcd"}],
    "when": ["new_group"], "token": "${env:TOKEN}", "password": "${env:TOKEN}", "issuer": "https://acme.example", "client_secret": "${env:TOKEN}",
    "projects": [{"id": 1, "slug": "a", "keys": [{"public_key": "abcd"}]}],
}  # fmt: skip
"""What is put into required fields, by their names, where the type alone does not say it."""
_BESIDES: dict[type[BaseModel], dict[str, Any]] = {
    Condition: {"level": "error"},
    Metric: {"warning": 1},
    Ownership: {"path": "a"},
    Web: {"public_url": "https://acme.example"},
    AlertRule: {"notify": ["members"]},
    Config: {"integrations": [{"type": "roundup", "name": "a", "url": "https://acme.example", "user": "a", "password": "${env:TOKEN}"}]},
}  # fmt: skip
"""What a model cannot do without although it is not required."""


@dataclass(frozen=True)
class Reached:
    """A model at a place: `document` is the whole file, `path` leads to the mapping that is of this model."""

    model: type[BaseModel]
    path: tuple[str | int, ...]
    document: dict[str, Any]

    @property
    def label(self) -> str:
        return f"{dotted(self.path)}:{self.model.__name__}"

    def with_field(self, name: str, value: Any) -> dict[str, Any]:
        """The document with a field of the model set."""
        document = copy.deepcopy(self.document)
        at: Any = document
        for part in self.path:
            at = at[part]
        at[name] = value
        return document


def dotted(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def spelled(model: type[BaseModel]) -> dict[str, Any]:
    """The fields of a model by the name that a file gives them."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def reached() -> list[Reached]:
    """Every model at every place where it may stand."""
    return list(_reached(Config, (), minimal(Config), lambda inner: inner))


def _reached(
    model: type[BaseModel], path: tuple[str | int, ...], value: dict[str, Any], around: Any
) -> Iterator[Reached]:
    yield Reached(model, path, around(value))
    for name, info in spelled(model).items():
        for steps, inner_model, inner_value, wrapped in _within(info.annotation):

            def around_inner(inner: Any, name: str = name, wrapped: Any = wrapped) -> Any:
                return around({**_without_rivals(model, value), name: wrapped(inner)})

            yield from _reached(inner_model, (*path, name, *steps), inner_value, around_inner)


def _without_rivals(model: type[BaseModel], value: dict[str, Any]) -> dict[str, Any]:
    return {} if model is Condition else value  # an entry has one condition


def _within(annotation: Any) -> Iterator[tuple[tuple[str | int, ...], type[BaseModel], dict[str, Any], Any]]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for tag in _tags(annotation) or [None]:
            yield (), annotation, minimal(annotation, tag), lambda inner: inner
    elif origin in (Annotated, Union, types.UnionType):
        for each in arguments[:1] if origin is Annotated else arguments:
            yield from _within(each)
    elif origin in (tuple, list):
        for steps, model, value, wrapped in _within(arguments[0]):
            yield (0, *steps), model, value, lambda inner, wrapped=wrapped: [wrapped(inner)]
    elif origin is dict:
        for steps, model, value, wrapped in _within(arguments[1]):
            yield ("a", *steps), model, value, lambda inner, wrapped=wrapped: {"a": wrapped(inner)}


def _tags(model: type[BaseModel]) -> list[Any]:
    info = model.model_fields.get("type")
    return list(get_args(info.annotation)) if info and get_origin(info.annotation) is Literal else []


def minimal(model: type[BaseModel], tag: Any = None) -> dict[str, Any]:
    """The least that a model needs."""
    found: dict[str, Any] = {"type": tag} if tag is not None else {}
    for name, info in spelled(model).items():
        if info.is_required() and name not in found:
            found[name] = _TEXTS[name] if name in _TEXTS else _example(info.annotation)
    return copy.deepcopy({**found, **_BESIDES.get(model, {})})


def _example(annotation: Any) -> Any:
    if get_origin(annotation) is Literal:
        return get_args(annotation)[0]
    if annotation in (int, float):
        return 1
    return "a"
