"""Where archives and backups may lie: not within the home, whichever way that is named, and damaged manifests are problems, no accidents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks_pipeline.archive.manifest import ArchiveError
from tasks_pipeline.archive.store import open_archive
from tasks_pipeline.backup.target import Target
from tasks_pipeline.cli import main
from tasks_pipeline.config import ConfigError
from tasks_pipeline.home import Home
from tasks_pipeline.storage.targets import TargetUnusable, target_url

PROJECTS = "projects: [{id: 1, slug: shop, name: Shop, keys: [{public_key: abcd1234}]}]\n"
SETTINGS = {
    "retention.archive_url": "retention: {{archive_url: {place}}}\n",
    "backup.to": "backup: {{to: {place}}}\n",
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(root=tmp_path / "home", data_url="s3://bucket/data")
    found.make_root()
    (tmp_path / "link").symlink_to(found.root)
    return found


@pytest.mark.parametrize("field", SETTINGS)
@pytest.mark.parametrize(
    ("place", "what"),
    {
        "{root}/archive": "the home",
        "{root}": "the home",
        "{root}/../link/x/../archive": "the home",
        "{root}/../elsewhere/../home/x": "the home",
        "file://{root}/archive": "the home",
        "local://{root}/../link": "the home",
        "s3://bucket/data/lake/archive": "the object storage of the home",
        "s3://bucket/data/": "the object storage of the home",
    }.items(),
)
def test_a_place_within_the_home_is_refused_with_what_is_allowed(
    home: Home, field: str, place: str, what: str
) -> None:
    home.config_path.write_text(PROJECTS + SETTINGS[field].format(place=place.format(root=home.root)))
    with pytest.raises(ConfigError) as caught:
        home.config()
    said = str(caught.value)
    assert f"{home.config_path}:2: {field}: lies within {what}" in said
    assert "allowed is a folder on another disk, or object storage apart" in said
    with pytest.raises(ArchiveError, match=f"lies within {what}"):
        open_archive(home, place.format(root=home.root)) if not place.startswith("s3:") else refuse_far(
            home, place
        )


def refuse_far(home: Home, place: str) -> None:
    """`open_archive` without a driver of object storage."""
    if what := home.holding(place):
        raise ArchiveError(f"{place} lies within {what}")


@pytest.mark.parametrize("place", ["{root}-2", "{root}/../other", "s3://bucket/data-2", "s3://bucket"])
def test_a_place_beside_it_is_fine(home: Home, place: str) -> None:
    home.config_path.write_text(PROJECTS + SETTINGS["backup.to"].format(place=place.format(root=home.root)))
    assert home.config().backup.to == place.format(root=home.root)


def test_a_password_in_a_url_is_refused_and_not_repeated(home: Home) -> None:
    url = "ftp://somebody:hunter22@ftp.example/backups"
    home.config_path.write_text(PROJECTS + SETTINGS["backup.to"].format(place=url))
    with pytest.raises(ConfigError, match="a URL with a password") as caught:
        home.config()
    assert "hunter22" not in str(caught.value)
    with pytest.raises(TargetUnusable, match="holds a password") as told:
        target_url(url)
    assert "hunter22" not in str(told.value)


@pytest.mark.parametrize("text", [b"{}", b"[" * 100_000, b'{"format": "\xff"}', b'{"format": 99}', b""])
def test_a_damaged_manifest_is_a_problem_of_the_report(tmp_path: Path, text: bytes) -> None:
    to, root = tmp_path / "to", tmp_path / "home"
    Home(root=root).make_root()
    (to / "backups").mkdir(parents=True)
    (to / "backups" / "20200101T000000Z-0123456789abcdef.json").write_bytes(text)
    assert len(Target(str(to)).names()) == 1
    (part := to / "1" / "2020-01-01" / "events-0001").mkdir(parents=True)
    (part / "manifest.json").write_bytes(text)
    (to / "1" / "2020-99-99" / "events-0001").mkdir(parents=True)
    (to / "1" / "2020-99-99" / "events-0001" / "manifest.json").write_bytes(text)
    for command in ("backup", "archive"):
        result = CliRunner().invoke(
            main, ["--home", str(root), command, "verify", "--from", str(to), "--json"]
        )
        assert result.exit_code == 1, result.output
        found = json.loads(result.stdout)
        assert {"files", "bytes", "rows", "seconds", "ok", "problems"} <= set(found)
        assert found["ok"] is False
        assert len(found["problems"]) == 1
