"""Where things lie, and what moves them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tasks_pipeline.config import ConfigError, Key, Project, parse_config
from tasks_pipeline.home import CONFIG_COPY, Home, _in_force, dsn
from tests.support.config_files import DAMAGES, GOOD, damaged


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
    with pytest.raises(ConfigError, match=r"missing\.yaml: cannot be read"):
        Home(tmp_path, config_override=tmp_path / "missing.yaml").config()


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


# A mistake stops nothing ----------------------------------------------------------------------------------------------


def in_a_new_process(home: Home) -> None:
    """Forget what this process knows of the file, and only that."""
    _in_force.pop(home.config_path, None)


@pytest.mark.parametrize("how", [*DAMAGES, "gone"])
def test_whatever_becomes_of_the_file_what_it_held_stays_in_force(tmp_path: Path, how: str) -> None:
    home = Home(tmp_path)
    home.config_path.write_text(GOOD)
    home.config_in_force()
    damaged(home, how)
    for _ in range(2):
        found = home.config_in_force()
        assert found.config.projects[0].keys[0].public_key == "abcdef"
        assert found.mistakes.startswith(str(home.config_path))
        in_a_new_process(home)


@pytest.mark.parametrize("how", DAMAGES)
def test_where_there_was_no_file_the_defaults_stay_in_force(tmp_path: Path, how: str) -> None:
    home = Home(tmp_path)
    key = home.config_in_force().config.projects[0].keys[0].public_key
    damaged(home, how)
    for _ in range(2):
        found = home.config_in_force()
        assert found.config.projects[0].keys[0].public_key == key
        assert found.mistakes
        in_a_new_process(home)
    if home.config_path.is_dir():
        home.config_path.rmdir()
    else:
        home.config_path.unlink()
    assert home.config_in_force().mistakes == ""


@pytest.mark.parametrize("how", DAMAGES)
def test_the_defaults_do_not_take_the_place_of_a_broken_file(tmp_path: Path, how: str) -> None:
    home = Home(tmp_path)
    damaged(home, how)
    with pytest.raises(ConfigError):
        home.config()
    with pytest.raises(ConfigError):
        home.config_in_force()


def test_what_cannot_be_kept_can_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    home = Home(tmp_path)
    home.config_path.write_text(GOOD)
    (tmp_path / CONFIG_COPY).mkdir()
    assert home.config_in_force().config.projects[0].slug == "shop"
    assert "could not be kept" in caplog.text
    home.config_path.write_text("nonsense")
    assert home.config_in_force().config.projects[0].slug == "shop"  # as this process knows it
    in_a_new_process(home)
    with pytest.raises(ConfigError, match="found a text"):
        home.config_in_force()


@pytest.mark.parametrize("held", [b"\xff\xfe", b"", b"projects: [", b"projects: [{id: 1, old_field: 2}]"])
def test_a_damaged_copy_is_replaced_or_does_without(tmp_path: Path, held: bytes) -> None:
    home = Home(tmp_path)
    (tmp_path / CONFIG_COPY).write_bytes(held)
    home.config_path.write_text(GOOD)
    assert home.config_in_force().mistakes == ""
    assert (tmp_path / CONFIG_COPY).read_text() == GOOD
    (tmp_path / CONFIG_COPY).write_bytes(held)
    home.config_path.write_text("nonsense")
    assert home.config_in_force().config.projects[0].slug == "shop"


def test_what_is_kept_is_for_its_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.config_path.write_text(GOOD)
    copy = tmp_path / CONFIG_COPY
    copy.write_text(GOOD)
    copy.chmod(0o644)
    home.config_in_force()
    assert copy.stat().st_mode & 0o777 == 0o600


def test_what_is_kept_holds_references_and_not_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", "s3cret")
    home = Home(tmp_path)
    home.config_path.write_text(GOOD.replace("abcdef", "'${env:SHOP_KEY}'"))
    assert home.config_in_force().config.projects[0].keys[0].public_key == "s3cret"
    assert "s3cret" not in (tmp_path / CONFIG_COPY).read_text()


def test_a_mistake_is_logged_once_without_secrets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URL_OF_HOOK", "hooks.example/T000/s3cret")
    home = Home(tmp_path)
    home.config_path.write_text(GOOD)
    home.config_in_force()
    home.config_path.write_text(GOOD + "\nchannels: [{type: webhook, name: a, url: '${env:URL_OF_HOOK}'}]")
    for _ in range(3):
        home.config_in_force()
    assert len(caplog.records) == 1
    assert "channels[0].url: not allowed" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_file_that_cannot_be_read_for_a_while_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing about the file changes when a disk that failed answers again."""
    home = Home(tmp_path)
    home.config_path.write_text(GOOD)
    home.config_in_force()
    home.config_path.write_text(GOOD.replace("shop", "store"))
    with monkeypatch.context() as failing:
        failing.setattr(Path, "open", _fails)
        failing.setattr(
            "tasks_pipeline.home.Home.read_config", lambda *_, **__: parse_config(GOOD)
        )  # the copy is elsewhere
        for _ in range(3):
            assert home.config_in_force().config.projects[0].slug == "shop"
    assert len(caplog.records) == 1
    assert home.config_in_force().config.projects[0].slug == "store"


def _fails(*_: object, **__: object) -> None:
    raise OSError(5, "Input/output error")


WITH_SECRETS = """
projects: [{id: 1, slug: store, keys: [{public_key: "${env:STORE_KEY}"}, {public_key: "${env:OTHER_KEY}"}]}]
channels:
  - {name: mail, type: mail, host: h.example, username: u, password: "${env:SMTP_PASSWORD}", sender: a@b.example}
  - {name: slack, type: slack, url: "${env:SLACK_URL}"}
  - {name: hook, type: webhook, url: "https://h.example/${env:HOOK}", headers: {Authorization: "Bearer ${env:HOOK}"}}
members: [{email: a@b.example, projects: {store: {delivery: digest}}}]
"""


def test_whoever_looks_needs_no_secrets(home: Home) -> None:
    home.config_path.write_text(WITH_SECRETS)
    with pytest.raises(ConfigError, match="SMTP_PASSWORD is not set"):
        home.config_in_force()
    found = home.config_to_look()
    assert (found.config.projects[0].slug, found.mistakes) == ("store", "")
    assert not (home.root / "config-in-force.yaml").exists()  # a look puts nothing in force


def test_whoever_looks_while_the_file_is_broken_sees_what_it_held_before(
    home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("STORE_KEY", "OTHER_KEY", "SMTP_PASSWORD", "HOOK")
    for name in names:
        monkeypatch.setenv(name, f"s3cret-{name}")
    monkeypatch.setenv("SLACK_URL", "https://h.example/s3cret")
    home.config_path.write_text(WITH_SECRETS)
    assert home.config_in_force().mistakes == ""
    for name in (*names, "SLACK_URL"):
        monkeypatch.delenv(name)
    home.config_path.write_text(f"{WITH_SECRETS}retention: {{raw_days: many}}")
    found = home.config_to_look()
    assert found.config.projects[0].slug == "store"
    assert "retention.raw_days" in found.mistakes
    assert "SMTP_PASSWORD" not in found.mistakes
    assert home.config_to_look().mistakes == found.mistakes
    assert len(caplog.records) == 1  # a command that asks twice tells it once


def test_a_file_without_projects_has_the_one_that_was_there_before_it(home: Home) -> None:
    key = home.config().projects[0].keys[0].public_key
    home.config_path.write_text("members: [{email: a@b.example, projects: {shop: {delivery: digest}}}]")
    config = home.config_in_force().config
    assert [(p.id, p.slug, p.keys[0].public_key) for p in config.projects] == [(1, "shop", key)]
    assert config.member("a@b.example") is not None
    home.config_path.write_text("projects: []")
    assert "projects" in home.config_in_force().mistakes
