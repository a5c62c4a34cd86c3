"""Where things lie, and what moves them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tasks_pipeline.config import Key, Project
from tasks_pipeline.home import Home, dsn


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "CONFIG", "DATABASE_URL", "DATA_URL"):
        monkeypatch.delenv(f"TASKS_PIPELINE_{name}", raising=False)


def test_the_argument_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_PIPELINE_HOME", str(tmp_path / "environment"))
    assert Home.resolve().root == (tmp_path / "environment").resolve()
    assert Home.resolve(tmp_path / "argument").root == (tmp_path / "argument").resolve()


def test_without_both_it_lies_in_the_users_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    home = Home.resolve()
    assert home.root == tmp_path.resolve() / ".tasks-pipeline"
    assert home.root.stat().st_mode & 0o077 == 0


def test_a_child_process_resolves_the_same_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path, "postgresql://u:p@h/d", "s3://bucket/prefix", tmp_path / "other.yaml")
    for name, value in home.environment().items():
        monkeypatch.setenv(name, value)
    assert Home.resolve() == home


def test_an_embedded_home_lies_below_its_root(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.embedded
    paths = [
        home.config_path,
        home.spool_dir,
        home.lake_catalog,
        home.dagster_home,
        home.logs_dir,
        home.run_dir,
    ]
    assert all(path.is_relative_to(tmp_path) for path in paths)
    assert home.state_url == f"sqlite:///{tmp_path}/state.sqlite"
    assert Path(home.lake_files).is_relative_to(tmp_path)
    assert Path(home.blobs_url).is_relative_to(tmp_path)


def test_urls_move_databases_and_data(tmp_path: Path) -> None:
    home = Home(tmp_path, database_url="postgres://u:p@h:5432/d", data_url="s3://bucket/prefix/")
    assert not home.embedded
    assert home.state_url == "postgresql+psycopg2://u:p@h:5432/d"
    assert (home.lake_files, home.blobs_url) == ("s3://bucket/prefix/lake", "s3://bucket/prefix/blobs")


@pytest.mark.parametrize("url", ["mysql://u:p@h/d", "postgresql:", "nonsense"])
def test_another_database_is_refused_with_what_is_allowed(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="allowed is postgresql://user:password@host:port/database"):
        _ = Home(tmp_path, database_url=url).postgres_url


def test_the_default_key_is_made_once_whoever_comes_first(tmp_path: Path) -> None:
    start = threading.Barrier(8)
    keys: list[str] = []

    def read() -> None:
        start.wait()
        keys.append(Home(tmp_path).config().projects[0].keys[0].public_key)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    assert [path.name for path in tmp_path.iterdir()] == ["default-key"]


def test_homes_have_different_keys(tmp_path: Path) -> None:
    keys = {Home(tmp_path / name).config().projects[0].keys[0].public_key for name in ("a", "b")}
    assert len(keys) == 2


def test_a_named_file_that_is_missing_is_an_error_and_not_the_default(tmp_path: Path) -> None:
    from tasks_pipeline.config import ConfigError

    with pytest.raises(ConfigError, match=r"missing\.yaml: cannot be read"):
        Home(tmp_path, config_override=tmp_path / "missing.yaml").config()


GOOD = "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]"


def test_a_broken_file_leaves_in_force_what_it_held(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = Home(tmp_path)
    home.config_path.write_text(GOOD)
    assert home.config_in_force().mistakes == ""
    home.config_path.write_text("projects: [{id: none}]")
    found = home.config_in_force()
    assert found.config.projects[0].slug == "shop"
    assert "projects[0].id" in found.mistakes
    assert home.config_in_force() is found
    assert len(caplog.records) == 1  # sensors ask every second
    home.config_path.unlink()
    found = home.config_in_force()
    assert (found.config.projects[0].slug, "is gone" in found.mistakes) == ("shop", True)
    home.config_path.write_text(GOOD.replace("shop", "store"))
    found = home.config_in_force()
    assert (found.config.projects[0].slug, found.mistakes) == ("store", "")


def test_a_file_that_never_was_good_is_an_error(tmp_path: Path) -> None:
    from tasks_pipeline.config import ConfigError

    home = Home(tmp_path)
    home.config_path.write_text(GOOD)
    home.config_in_force()
    home.config_path.write_text("nonsense")
    home.forget_config()  # as a service does when it starts
    with pytest.raises(ConfigError):
        home.config_in_force()


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("http://127.0.0.1:9000", "http://abcd@127.0.0.1:9000/7"),
        ("https://errors.example/", "https://abcd@errors.example/7"),
        ("https://example.com/prefix", "https://abcd@example.com/prefix/7"),
    ],
)
def test_dsn(base: str, expected: str) -> None:
    assert (
        dsn(base, Project(id=7, slug="shop", keys=(Key(public_key="abcd"),)), Key(public_key="abcd"))
        == expected
    )
