"""`tasks-pipeline config`."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result

from tasks_pipeline.cli import main
from tasks_pipeline.config import config_schema, parse_config

FILE = "projects:\n  - {id: 1, slug: shop, keys: [{public_key: '${env:SHOP_KEY}', name: a}, {public_key: efgh}]}\n"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "CONFIG", "DATABASE_URL", "DATA_URL"):
        monkeypatch.delenv(f"TASKS_PIPELINE_{name}", raising=False)


def call(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home), "config", *arguments])


def test_check_of_a_good_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", "abcd")
    (tmp_path / "tasks_pipeline.yaml").write_text(FILE)
    result = call(tmp_path, "check")
    assert (result.exit_code, result.output) == (0, f"{tmp_path}/tasks_pipeline.yaml: good, 1 project\n")


def test_check_without_a_file_says_that_defaults_are_used(tmp_path: Path) -> None:
    result = call(tmp_path, "check")
    assert result.exit_code == 0
    assert "does not exist: the defaults are used" in result.output


def test_check_prints_every_mistake_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(FILE.replace("${env:SHOP_KEY}", "abcd") + "receiver:\n  port: x\n  hots: a\n")
    result = call(tmp_path, "check", str(file))
    assert result.exit_code == 1
    assert f"{file}:4: receiver.port" in result.stderr
    assert f"{file}:5: receiver.hots: unknown field" in result.stderr
    assert "Traceback" not in result.output


def test_show_is_a_whole_file_with_every_default(tmp_path: Path) -> None:
    shown = call(tmp_path, "show").stdout
    assert parse_config(shown).projects[0].slug == "shop"
    assert yaml.safe_load(shown)["receiver"]["max_items"] == 200
    (tmp_path / "tasks_pipeline.yaml").write_text(shown)
    assert call(tmp_path, "show").stdout == shown


def test_show_does_not_tell_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", "s3cret")
    (tmp_path / "tasks_pipeline.yaml").write_text(FILE)
    result = call(tmp_path, "show")
    assert result.exit_code == 0
    assert "s3cret" not in result.output
    keys = yaml.safe_load(result.stdout)["projects"][0]["keys"]
    assert [key["public_key"] for key in keys] == ["${env:SHOP_KEY}", "efgh"]


def test_schema_is_json(tmp_path: Path) -> None:
    schema = msgspec.json.decode(call(tmp_path, "schema").stdout)
    assert schema["properties"].keys() == config_schema()["properties"].keys()
