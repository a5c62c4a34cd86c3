"""What is told about mistakes in models of every form, also such as the configuration does not have yet."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal, NewType

import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    RootModel,
    Secret,
    SecretStr,
    Tag,
    ValidationError,
    field_validator,
)

from tasks_pipeline.config import explaining
from tasks_pipeline.config.explaining import explain
from tasks_pipeline.config.written import read_yaml


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Leaf(Strict):
    number: int = Field(1, alias="how-many")
    other: str = Field("", validation_alias=AliasChoices("another", "else"))
    kind: Literal["leaf"] = Field("leaf", alias="is")


class Branch(Strict):
    kind: Literal["branch"] = Field("branch", alias="is")
    leaves: list[Leaf] = []


class Colour(Enum):
    red = "red"


class Painted(Strict):
    colour: Literal[Colour.red]
    coats: int = 1


class Rooted(RootModel[dict[str, list[Leaf]]]):
    pass


Renamed = NewType("Renamed", Leaf)


def by_size(value: Any) -> str:
    return "large" if isinstance(value, dict) and "leaves" in value else "small"


class Everything(Strict):
    tagged: Annotated[Leaf | Branch, Field(discriminator="kind")] | None = None
    many: list[Annotated[Leaf | Branch, Field(discriminator="kind")]] = []
    called: Annotated[
        Annotated[Leaf, Tag("small")] | Annotated[Branch, Tag("large")], Discriminator(by_size)
    ] | None = None  # fmt: skip
    either: Leaf | Painted | int | None = None
    lists: list[Leaf] | dict[str, Branch] = []
    rooted: Rooted = Rooted({})
    pair: tuple[int, Leaf] | None = None
    renamed: Renamed | None = None
    secrets: dict[str, Secret[str]] = {}
    token: int = 1
    nested: dict[str, dict[str, tuple[SecretStr, ...]]] = {}
    echoing: str = ""

    @field_validator("echoing")
    @classmethod
    def _echoing(cls, value: str) -> str:
        assert not value, f"{value[:6]} is not allowed, nor is {value.upper()}"
        return value


def told(text: str, **environ: str) -> list[str]:
    reading = read_yaml(text, environ)
    assert reading.root is not None
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate(reading.root.value)
    return [mistake.text("f") for mistake in explain(caught.value, Everything, reading)]


LEAF = "unknown field; allowed: another, how-many, is"
BRANCH = "unknown field; allowed: is, leaves"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tagged: {is: leaf, x: 1}", f"tagged.x: {LEAF}"),
        ("tagged: {is: branch, x: 1}", f"tagged.x: {BRANCH}"),
        ("tagged: {is: branch, branch: 1}", f"tagged.branch: {BRANCH}"),
        ("tagged: {is: branch, leaves: [{x: 1}]}", f"tagged.leaves[0].x: {LEAF}"),
        ("tagged: {is: tree}", "tagged.is: unknown; allowed: leaf, branch (found 'tree')"),
        ("tagged: {x: 1}", "tagged.is: Field required; allowed: leaf, branch"),
        ("many: [{is: branch, leaves: [{}, {how-many: a}]}]", "many[0].leaves[1].how-many: Input should be a valid integer, unable to parse string as an integer (found 'a')"),
        ("called: {leaves: [], x: 1}", f"called.x: {BRANCH}"),
        ("called: {x: 1}", f"called.x: {LEAF}"),
        ("either: {colour: red, cots: 1}", "either.cots: unknown field; allowed: coats, colour (did you mean coats?)"),
        ("lists: [{x: 1}]", f"lists[0].x: {LEAF}"),
        ("lists: {some: {x: 1}}", f"lists.some.x: {BRANCH}"),
        ("rooted: {a: [{x: 1}]}", f"rooted.a[0].x: {LEAF}"),
        ("rooted: {how-many: [{x: 1}]}", f"rooted.how-many[0].x: {LEAF}"),
        ("pair: [1, {x: 1}]", f"pair[1].x: {LEAF}"),
        ("renamed: {number: 1}", f"renamed.number: {LEAF}"),
        ("token: a", "token: Input should be a valid integer, unable to parse string as an integer (found a text that is not shown)"),
        ("secrets: {a: [s3cret]}", "secrets.a: Input should be a valid string (found a list)"),
        ("nested: {a: {b: s3cret}}", "nested.a.b: Input should be a list (found a text that is not shown)"),
        ("nested: {a: s3cret}", "nested.a: Input should be a mapping (found a text that is not shown)"),
    ],
)  # fmt: skip
def test_models_of_every_form_are_followed(text: str, expected: str) -> None:
    assert f"f:1: {expected}" in told(text)


def test_what_a_validator_repeats_of_a_secret_is_not_told() -> None:
    (said,) = told("echoing: '${env:A}'", A="s3cret-value")
    assert "s3cret" not in said.lower()
    assert said.endswith("(found '${env:A}')")
    assert "visible" in told("echoing: visible")[0]


def test_a_hint_that_fails_costs_the_hint_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise KeyError("s3cret")

    monkeypatch.setattr(explaining, "below", fails)
    text = "tagged:\n  is: branch\n  leaves:\n  - x: 1\n  - how-many: '${env:A}'\nechoing: '${env:A}'\n"
    assert told(text, A="s3cret") == [
        "f:4: tagged.branch.leaves[0].x: Extra inputs are not permitted",
        "f:5: tagged.branch.leaves[1].how-many: Input should be a valid integer, unable to parse string as an integer",
        "f:6: echoing: what stands here cannot be used",
    ]
