"""The configuration file: what it means, and what is said about mistakes."""

from __future__ import annotations

import re
from datetime import time
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tasks_pipeline.config import Config, ConfigError, config_schema, load_config, parse_config

MINIMAL = """\
projects:
  - id: 1
    slug: shop
    keys:
      - public_key: abcd
"""
DOCUMENT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")


def mistakes(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        parse_config(text, "f.yaml", environ)
    return str(error.value).splitlines()


def test_a_minimal_file_has_working_defaults() -> None:
    config = parse_config(MINIMAL)
    assert config.projects[0].keys[0].enabled
    assert (config.receiver.host, config.receiver.port) == ("127.0.0.1", 9000)
    assert config.project(1) == config.projects[0]
    assert config.project(2) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL + "recevier: {}\n", r"f\.yaml:6: recevier: unknown field; allowed: .*receiver"),
        (MINIMAL + "receiver:\n  port: 70000\n", r"f\.yaml:7: receiver\.port: .*65535 \(found 70000\)"),
        (
            MINIMAL + "receiver:\n  prot: 1\n",
            r"f\.yaml:7: receiver\.prot: unknown field; allowed: .*\bport\b",
        ),
        (
            MINIMAL.replace("slug: shop", "slug: My Shop"),
            r"f\.yaml:3: projects\[0\]\.slug: .*\(found 'My Shop'\)",
        ),
        (MINIMAL.replace("    slug: shop\n", ""), r"f\.yaml:2: projects\[0\]\.slug: Field required"),
        (
            MINIMAL + "  - {id: 1, slug: web, keys: [{public_key: efgh}]}\n",
            r"f\.yaml:6: projects\[1\]\.id: id used twice: 1",
        ),
        (MINIMAL + "  - {id: 2, slug: web, keys: [{public_key: abcd}]}\n", r"public_key used twice: abcd"),
        (
            MINIMAL + "receiver: {max_event_bytes: 2048, max_envelope_bytes: 1024}\n",
            r"f\.yaml:6: receiver\.max_event_bytes: .*allowed is at most 1024",
        ),
        ("projects: [\n", r"f\.yaml:2: not YAML: "),
        ("- 1\n", r"f\.yaml:1: found a list, allowed is a mapping with `projects`"),
        ("", r"f\.yaml:1: found nothing"),
    ],
)
def test_a_mistake_is_reported_with_its_line(text: str, expected: str) -> None:
    assert re.search(expected, mistakes(text)[0])


def test_every_mistake_is_reported_at_once() -> None:
    assert len(mistakes(MINIMAL + "receiver: {port: x, max_items: 0}\nretention: {raw_days: -1}\n")) == 3


def test_secrets_come_from_the_environment() -> None:
    text = MINIMAL.replace("abcd", "${env:SHOP_KEY}")
    assert parse_config(text, environ={"SHOP_KEY": "efgh"}).projects[0].keys[0].public_key == "efgh"
    assert mistakes(text) == [
        "f.yaml:5: projects[0].keys[0].public_key: the environment variable SHOP_KEY is not set"
    ]


def test_a_file_that_cannot_be_read_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "latin1.yaml").write_bytes(b"# caf\xe9\n")
    for name in ("missing.yaml", "latin1.yaml"):
        with pytest.raises(ConfigError, match=f"{name}: cannot be read"):
            load_config(tmp_path / name)


@given(st.text(max_size=200) | st.builds(yaml.safe_dump, st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["projects", "id", "slug", "keys", "receiver", "port", "quotas", "x"]), inner, max_size=4),
    max_leaves=12,
)))  # fmt: skip
def test_any_text_is_a_configuration_or_a_config_error(text: str) -> None:
    try:
        assert parse_config(text).projects
    except ConfigError as error:
        assert str(error)  # noqa: PT017


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models that a type is made of: of unions, tuples, mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return list(dict.fromkeys(model for part in get_args(annotation) for model in models_in(part)))


def sections(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Every model reachable from the configuration, by the dotted path where it is met first.

    Of a union each has its own section, with the name of its class.
    """
    found: dict[str, type[BaseModel]] = {"": model}
    waiting = [("", model)]
    while waiting:
        path, parent = waiting.pop(0)
        for name, field in parent.model_fields.items():
            kinds = models_in(field.annotation)
            for kind in kinds:
                here = f"{path}.{field.alias or name}".lstrip(".") + (
                    f".{kind.__name__}" if len(kinds) > 1 else ""
                )
                if kind not in found.values():
                    found[here] = kind
                    waiting.append((here, kind))
    return found


@pytest.mark.parametrize("path", [path for path in sections(Config) if path])
def test_every_setting_is_documented_with_its_default(path: str) -> None:
    """`docs/configuration.md` has a heading per section and below it a table row per setting, spelled as in the file."""
    heading = re.search(rf"^### `{re.escape(path)}`.*?$(.*?)(?=^##|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert heading, f"no heading ### `{path}`"
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", heading.group(1), re.MULTILINE))
    fields = {field.alias or name: field for name, field in sections(Config)[path].model_fields.items()}
    assert set(rows) == set(fields)
    for name, field in fields.items():
        assert rows[name] == documented(field), name


def documented(field: Any) -> str:
    """How a default is written in the document."""
    if field.is_required():
        return "required"
    default = field.default
    if isinstance(default, BaseModel):
        return "its defaults"
    if isinstance(default, tuple):
        return "none"
    if isinstance(default, time):
        return f"`{default:%H:%M}`"
    return f"`{yaml.safe_dump(default).splitlines()[0]}`"


def test_the_examples_in_the_document_are_valid() -> None:
    examples = re.findall(
        r"^```yaml\n(projects:.*?|organisation:.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL
    )
    assert examples
    for example in examples:
        names = re.findall(r"\$\{env:(\w+)\}", example)
        assert parse_config(example, environ=dict.fromkeys(names, "abcd1234")).projects


def test_every_variable_is_documented() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for path in (Path(__file__).parents[2] / "tasks_pipeline").rglob("*.py")
    ]
    used = {name for source in sources for name in re.findall(r'"(TASKS_PIPELINE_[A-Z_]+)"', source)}
    assert {name for name in used if f"`{name}`" not in DOCUMENT} == set()


def test_the_schema_knows_every_section() -> None:
    assert set(config_schema()["properties"]) == set(Config.model_fields)
