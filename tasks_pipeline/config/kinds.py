"""Which types may stand at a place of the configuration: its annotations, followed as pydantic follows them."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, AliasPath, BaseModel, RootModel, Secret, SecretBytes, SecretStr, Tag
from pydantic.fields import FieldInfo

from tasks_pipeline.config.model import About

_SECRET_NAMES = re.compile(r"secret|password|passwd|token|(api|routing|private|access)_?key|credential", re.I)
_LIST_LABEL = re.compile(r"(tuple|list|set|frozenset|deque)\b")
_DICT_LABEL = re.compile(r"dict\b")


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the types that may stand at a place, without what wraps it, and what was noted around it."""

    type: Any
    notes: tuple[Any, ...] = ()

    @property
    def model(self) -> type[BaseModel] | None:
        """The model, when it is one."""
        return self.type if isinstance(self.type, type) and issubclass(self.type, BaseModel) else None

    @property
    def is_list(self) -> bool:
        """Whether it is any kind of list."""
        origin = get_origin(self.type) or self.type
        if not isinstance(origin, type) or issubclass(origin, str | bytes):
            return False
        return issubclass(origin, Sequence | AbstractSet)

    @property
    def is_dict(self) -> bool:
        """Whether it is a mapping with names of its own."""
        origin = get_origin(self.type) or self.type
        return isinstance(origin, type) and issubclass(origin, Mapping)

    @property
    def discriminator(self) -> str | None:
        """Name of the field that says which of several models is meant."""
        names = [note.discriminator for note in self.notes if isinstance(note, FieldInfo)]
        return next((name for name in names if isinstance(name, str)), None)

    def said(self) -> str:
        """What the type says is allowed, or nothing."""
        return next((note.allowed for note in self.notes if isinstance(note, About) and note.allowed), "")


def kinds_of(annotation: Any, notes: Sequence[Any] = ()) -> tuple[Kind, ...]:
    """What a type may be: the members of unions, without None."""
    kept = tuple(notes)
    if hasattr(annotation, "__value__"):  # type X = …
        return kinds_of(annotation.__value__, kept)
    if hasattr(annotation, "__supertype__"):  # NewType
        return kinds_of(annotation.__supertype__, kept)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kinds_of(arguments[0], (*kept, *arguments[1:]))
    if origin in (Union, types.UnionType):
        return tuple(kind for each in arguments for kind in kinds_of(each, kept) if each is not type(None))
    if isinstance(annotation, type) and issubclass(annotation, RootModel):
        return kinds_of(annotation.model_fields["root"].annotation, kept)
    return (Kind(annotation, kept),)


def kinds_of_field(name: str, info: FieldInfo) -> tuple[Kind, ...]:
    """What a field of a model may be; one with the name of a secret is private whatever its type."""
    named = (About(private=True),) if _SECRET_NAMES.search(name) else ()
    return kinds_of(info.annotation, (*info.metadata, info, *named))


def below(kinds: Sequence[Kind], part: str | int) -> tuple[Kind, ...]:
    """What may stand at a field, a name or a number of these."""
    return tuple(found for kind in kinds for found in _below(kind, part))


def _below(kind: Kind, part: str | int) -> tuple[Kind, ...]:
    arguments = get_args(kind.type)
    inherited = tuple(note for note in kind.notes if isinstance(note, About) and note.private)
    if kind.model is not None:
        for name, info in kind.model.model_fields.items():
            if part in spellings(kind.model, name):
                return kinds_of_field(name, info)
    elif kind.is_dict and len(arguments) == 2:
        return kinds_of(arguments[1], inherited)
    elif kind.is_list and isinstance(part, int) and arguments:
        fixed = [each for each in arguments if each is not Ellipsis]
        return kinds_of(fixed[min(part, len(fixed) - 1)], inherited)
    return ()


def key_kinds(kinds: Sequence[Kind]) -> tuple[Kind, ...]:
    """What a name in these mappings may be."""
    return tuple(
        found
        for kind in kinds
        if kind.is_dict and get_args(kind.type)
        for found in kinds_of(get_args(kind.type)[0])
    )


def labelled(kinds: Sequence[Kind], label: str) -> tuple[Kind, ...]:
    """Those that pydantic means by a label in the place of a mistake within a union; all when it is none of ours."""
    tagged = tuple(kind for kind in kinds if label in tags(kind))
    if tagged:
        return tagged
    named = tuple(kind for kind in kinds if kind.model is not None and kind.model.__name__ == label)
    if named:
        return named
    if _LIST_LABEL.match(label):
        return tuple(kind for kind in kinds if kind.is_list) or tuple(kinds)
    if _DICT_LABEL.match(label):
        return tuple(kind for kind in kinds if kind.is_dict) or tuple(kinds)
    return tuple(kind for kind in kinds if kind.model is None and not kind.is_list) or tuple(kinds)


def tags(kind: Kind) -> tuple[str, ...]:
    """The values of its discriminator by which a model is meant."""
    explicit = tuple(note.tag for note in kind.notes if isinstance(note, Tag))
    if explicit or kind.model is None or kind.discriminator is None:
        return explicit
    info = kind.model.model_fields.get(kind.discriminator)
    found = kinds_of(info.annotation) if info is not None else ()
    return tuple(
        str(getattr(value, "value", value))
        for each in found
        if get_origin(each.type) is Literal
        for value in get_args(each.type)
    )


def tag_name(kinds: Sequence[Kind]) -> str:
    """The field that says which of several models is meant, as a file spells it; empty when no field does."""
    for kind in kinds:
        name = kind.discriminator
        if kind.model is not None and name is not None and name in kind.model.model_fields:
            return spellings(kind.model, name)[0]
    return ""


def of_tag(kinds: Sequence[Kind], fields: Mapping[str, Any]) -> tuple[Kind, ...]:
    """Of several models those that the discriminator among the fields means; all when it means none."""
    tag = fields.get(tag_name(kinds)) if len(kinds) > 1 else None
    return tuple(kind for kind in kinds if tag is not None and tag in tags(kind)) or tuple(kinds)


def spellings(model: type[BaseModel], name: str) -> tuple[str, ...]:
    """How a file may spell a field, the usual spelling first."""
    info = model.model_fields[name]
    alias = info.validation_alias if info.validation_alias is not None else info.alias
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    found = [
        str(choice.path[0]) if isinstance(choice, AliasPath) else choice
        for choice in choices
        if choice is not None
    ]
    by_name = model.model_config.get("populate_by_name") or model.model_config.get("validate_by_name")
    return (*found, name) if by_name or not found else tuple(found)


def field_names(kinds: Sequence[Kind]) -> list[str]:
    """All fields that these models allow, as a file spells them."""
    models = [kind.model for kind in kinds if kind.model is not None]
    return sorted({spellings(model, name)[0] for model in models for name in model.model_fields})


def is_private(kinds: Sequence[Kind]) -> bool:
    """Whether what stands there, or within it, may be a secret."""
    return any(_is_private(kind) for kind in kinds)


def _is_private(kind: Kind) -> bool:
    if any(isinstance(note, About) and note.private for note in kind.notes):
        return True
    origin = get_origin(kind.type) or kind.type
    if isinstance(origin, type) and issubclass(origin, SecretStr | SecretBytes | Secret):
        return True
    if kind.is_list or kind.is_dict:
        return any(is_private(kinds_of(each)) for each in get_args(kind.type) if each is not Ellipsis)
    return False


def models_below(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every model that a type is made of: of unions, lists, mappings."""
    for kind in kinds_of(annotation):
        if kind.model is not None:
            yield kind.model
        else:
            for each in get_args(kind.type):
                if each is not Ellipsis:
                    yield from models_below(each)
