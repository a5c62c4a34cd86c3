"""`tasks-pipeline config`."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result

from tasks_pipeline.cli import main
from tasks_pipeline.config import config_schema, parse_config
from tasks_pipeline.home import Home
from tests.support.config_files import DAMAGES, GOOD, damaged

FILE = "projects:\n  - {id: 1, slug: shop, keys: [{public_key: '${env:SHOP_KEY}', name: a}, {public_key: efgh}]}\n"


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


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=["text", "json"])
def test_check_of_whatever_became_of_the_file(tmp_path: Path, how: str, arguments: tuple[str, ...]) -> None:
    home = Home(tmp_path)
    damaged(home, how)
    for file in ((), (str(home.config_path),)):
        result = call(tmp_path, "check", *arguments, *file)
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)  # and not an exception of its own
        if arguments:
            told = msgspec.json.decode(result.stdout)
            assert (told["file"], told["good"], told["projects"]) == (str(home.config_path), False, None)
            assert told["mistakes"]
            for mistake in told["mistakes"]:
                assert sorted(mistake) == ["found", "line", "message", "path", "text"]
        else:
            assert result.stderr.startswith(f"Error: {home.config_path}:")
            assert result.stdout == ""


def test_check_as_json(tmp_path: Path) -> None:
    file = tmp_path / "tasks_pipeline.yaml"
    answer = msgspec.json.decode(call(tmp_path, "check", "--json").stdout)
    assert answer == {"file": str(file), "good": True, "projects": 1, "mistakes": [], "notes": []}
    file.write_text(GOOD + "\nreceiver:\n  port: x\n")
    result = call(tmp_path, "check", "--json")
    assert result.exit_code == 1
    said = "Input should be a valid integer, unable to parse string as an integer"
    assert msgspec.json.decode(result.stdout)["mistakes"] == [
        {"line": 3, "path": "receiver.port", "message": said, "found": "'x'",
         "text": f"{file}:3: receiver.port: {said} (found 'x')"},
    ]  # fmt: skip


def test_check_does_not_tell_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "hooks.example/s3cret")
    (tmp_path / "tasks_pipeline.yaml").write_text(
        GOOD
        + "\nchannels: [{type: webhook, name: a, url: '${env:HOOK}'}, {type: slack, name: b, url: [s3cret]}]"
    )
    for arguments in ((), ("--json",)):
        result = call(tmp_path, "check", *arguments)
        assert result.exit_code == 1
        assert "channels[0].url" in result.output
        assert "s3cret" not in result.output


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


def test_show_spells_fields_as_the_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", "s3cret*")
    file = tmp_path / "tasks_pipeline.yaml"
    file.write_text(
        GOOD + "\nalert_rules:\n- name: a\n  when: [monitor, {type: events, count: 5}]\n  notify: [members]\n"
        "  if: {all: [{tag: {name: browser, is: '${env:BROWSER}'}}]}\n"
    )
    before = parse_config(file.read_text())
    result = call(tmp_path, "show")
    assert "s3cret" not in result.output
    assert parse_config(result.stdout).alert_rules[0].when == before.alert_rules[0].when
    (condition,) = yaml.safe_load(result.stdout)["alert_rules"][0]["if"]["all"]
    assert condition["tag"] == {"name": "browser", "is": "${env:BROWSER}"}


def test_show_does_not_fill_in_what_follows_from_a_members_own_preferences(tmp_path: Path) -> None:
    (tmp_path / "tasks_pipeline.yaml").write_text(
        GOOD
        + "\nmembers: [{email: a@b, notifications: {delivery: digest}, projects: {shop: {only_assigned: true}}}]"
    )
    (member,) = yaml.safe_load(call(tmp_path, "show").stdout)["members"]
    assert member["projects"] == {"shop": {"only_assigned": True}}


def test_show_masks_secrets_that_stand_in_the_file(tmp_path: Path) -> None:
    (tmp_path / "tasks_pipeline.yaml").write_text(
        GOOD + "\nwatch: {heartbeat_url: 'https://ping.example/s3cret'}\nchannels:\n"
        "- {type: webhook, name: a, url: 'https://u:s3cret@hooks.example:8443/T0/s3cret?x=s3cret', headers: {X: s3cret}}\n"
        "- {type: slack, name: b, url: 'https://slack.example/s3cret'}\n"
        "- {type: pagerduty, name: c, routing_key: s3cret}\n"
    )
    result = call(tmp_path, "show")
    assert "s3cret" not in result.output
    shown = yaml.safe_load(result.stdout)
    assert shown["channels"][0]["url"] == "https://hooks.example:8443/**********"
    assert shown["channels"][2]["url"] == "https://events.pagerduty.com/v2/enqueue"
    assert parse_config(result.stdout).watch.heartbeat_url == "https://ping.example/**********"


def test_show_of_a_file_with_anchors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", "s3cret")
    (tmp_path / "tasks_pipeline.yaml").write_text(
        "projects:\n- &a {id: 1, slug: shop, name: '${env:SHOP_KEY}', keys: [{public_key: abcd}]}\n"
        "- {<<: *a, id: 2, slug: web, keys: [{public_key: efgh}]}\n"
    )
    result = call(tmp_path, "show")
    assert "s3cret" not in result.output
    assert [p["name"] for p in yaml.safe_load(result.stdout)["projects"]] == ["${env:SHOP_KEY}"] * 2


@pytest.mark.parametrize("how", DAMAGES)
def test_a_service_that_does_not_start_forgets_nothing(tmp_path: Path, how: str) -> None:
    """What runs beside it, or is started by itself, goes on with what the file held."""
    home = Home(tmp_path)
    home.config_path.write_text(GOOD)
    home.config_in_force()
    damaged(home, how)
    result = CliRunner().invoke(main, ["--home", str(tmp_path), "run", "--port", "0", "--ui-port", "0"])
    assert result.exit_code == 1
    assert f"Error: {home.config_path}:" in result.stderr
    assert home.config_in_force().config.projects[0].slug == "shop"


def test_schema_is_json(tmp_path: Path) -> None:
    schema = msgspec.json.decode(call(tmp_path, "schema").stdout)
    assert schema["properties"].keys() == config_schema()["properties"].keys()


README = Path(__file__).parents[2] / "README.md"
ON_CALL = ["groups list", "events list", "members list", "alerts rules", "notifications log", "monitors list", "status", "token list", "dsn"]  # fmt: skip


def example_of_readme() -> str:
    """The configuration that README tells people to write."""
    (example,) = [part for part in README.read_text().split("```yaml\n")[1:] if part.startswith("channels:")]
    return example.partition("```")[0]


def test_the_example_of_readme_is_good_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dsn = CliRunner().invoke(main, ["--home", str(tmp_path), "dsn"]).stdout
    (tmp_path / "tasks_pipeline.yaml").write_text(example_of_readme())
    assert "SMTP_PASSWORD is not set" in call(tmp_path, "check").stderr
    monkeypatch.setenv("SMTP_PASSWORD", "s3cret")
    assert call(tmp_path, "check").exit_code == 0
    assert CliRunner().invoke(main, ["--home", str(tmp_path), "dsn"]).stdout == dsn


@pytest.mark.parametrize("command", ON_CALL)
def test_a_shell_without_the_secrets_can_look(command: str, tmp_path: Path) -> None:
    (tmp_path / "tasks_pipeline.yaml").write_text(example_of_readme())
    looked = CliRunner().invoke(main, ["--home", str(tmp_path), *command.split()])
    assert looked.exit_code == 0
    assert "SMTP_PASSWORD" not in looked.output


@pytest.mark.parametrize(
    "command", ["resolve ID", "assign ID --to a@b.example", "merge ID 2", "unmerge ID", "discard ID"]
)
def test_a_shell_without_the_secrets_can_decide(command: str, tmp_path: Path) -> None:
    (tmp_path / "tasks_pipeline.yaml").write_text(f"{FILE}members: [{{email: a@b.example}}]\n")
    words = command.replace("ID", "SHOP-1").split()
    decided = CliRunner().invoke(main, ["--home", str(tmp_path), "groups", *words])
    assert "there is no group SHOP-1" in decided.stderr


def test_what_is_shown_without_the_secrets_refers_to_them(tmp_path: Path) -> None:
    (tmp_path / "tasks_pipeline.yaml").write_text(FILE)
    shown = call(tmp_path, "show")
    assert shown.exit_code == 0
    assert "public_key: ${env:SHOP_KEY}" in shown.stdout
    assert "unset" not in shown.stdout


def test_a_dsn_whose_key_is_not_known_here_is_not_made_up(tmp_path: Path) -> None:
    (tmp_path / "tasks_pipeline.yaml").write_text(FILE)
    asked = CliRunner().invoke(main, ["--home", str(tmp_path), "dsn"])
    assert (asked.exit_code, asked.stdout) == (1, "")
    assert "unset-shop_key" in asked.stderr
