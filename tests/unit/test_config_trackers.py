"""Sections `integrations` and `trackers`: every mistake is told with its place, and no secret stands in the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from tasks_pipeline.cli import main
from tasks_pipeline.config import Config, ConfigError, parse_config
from tasks_pipeline.config.integrations import placeholders
from tasks_pipeline.config.showing import shown_config

SECRETS = {"TOKEN": "s3cret-of-hub", "KEY": "s3cret-of-mine", "WORD": "s3cret-of-round"}
GOOD = """\
projects:
  - {id: 1, slug: shop, keys: [{public_key: abcd}]}
  - {id: 2, slug: office, keys: [{public_key: efgh}]}
integrations:
  - {name: hub, type: github, token: "${env:TOKEN}", ca_file: corp.pem}
  - {name: mine, type: redmine, url: "http://127.0.0.1:1", token: "${env:KEY}", allow_insecure: true, allow_private: [127.0.0.0/8]}
  - {name: round, type: roundup, url: "https://round.acme.example/tracker", user: bot, password: "${env:WORD}"}
trackers:
  - {name: shop-issues, integration: hub, repository: acme/shop, projects: [shop], labels: [error, "{level}", "{tag:browser}"]}
  - {name: shop-mine, integration: mine, project: shop, tracker: Bug, marker_field: 3}
  - {name: all-round, integration: round, statuses: {closed: resolved}}
members:
  - {email: anna@acme.example, accounts: {hub: anna-gh, mine: "6"}}
  - {email: ben@acme.example, accounts: {hub: ben}}
teams:
  - {slug: web, accounts: {mine: "9"}}
alert_rules:
  - {name: file it, when: [new_group], create_issue: shop-issues}
"""
SWAPS = [
    ("integration: hub,", "integration: hubb,", "9: trackers[0].integration: hubb is not configured; allowed: hub, mine, round"),
    ("repository: acme/shop", "project: shop", "9: trackers[0].project: hub is a github, which has no such thing; allowed there: labels, repository"),
    ("repository: acme/shop, ", "", "9: trackers[0].repository: Field required: hub is a github; allowed: owner/name, as acme/shop"),
    ("repository: acme/shop", "repository: shop", "9: trackers[0].repository: not allowed; allowed: owner/name, as acme/shop"),
    ("project: shop, tracker", "repository: a/b, tracker", "10: trackers[1].repository: mine is a redmine, which has no such thing; allowed there: marker_field, project, statuses, tracker"),
    ("project: shop, tracker", "project: Web Shop, tracker", "10: trackers[1].project: not allowed; allowed: the identifier of a project, as in the address of its page: shop"),
    ("integration: round, ", "integration: round, project: shop, ", "11: trackers[2].project: round is a roundup, which has no such thing; allowed there: statuses"),
    ("projects: [shop], ", "statuses: {closed: Done}, ", "9: trackers[0].statuses: hub is a github, which has no such thing"),
    ("marker_field: 3", "labels: [error]", "10: trackers[1].labels: mine is a redmine, which has no such thing; allowed there: marker_field, project, statuses, tracker"),
    ("statuses: {closed: resolved}", "labels: [error]", "11: trackers[2].labels: round is a roundup, which has no such thing; allowed there: statuses"),
    ("name: mine", "name: hub", "6: integrations[1].name: name used twice: hub"),
    ("name: shop-mine", "name: shop-issues", "10: trackers[1].name: name used twice: shop-issues"),
    ("name: shop-mine", "name: team", "10: trackers[1].name: team is a word of its own"),
    ("projects: [shop]", "projects: [shpo]", "9: trackers[0].projects[0]: shpo is not configured; allowed: office, shop"),
    ("{level}", "{lvl}", "9: trackers[0].labels[1]: {lvl} stands for nothing; allowed: {short_id}, {title},"),
    ("tag:browser", "tag:", "9: trackers[0].labels[2]: {tag:} stands for nothing"),
    ("marker_field: 3", "title: '{titel}'", "10: trackers[1].title: {titel} stands for nothing"),
    ("marker_field: 3", "poll_seconds: 1", "10: trackers[1].poll_seconds: Input should be greater than or equal to 10"),
    ("marker_field: 3", "body: issue.md", "10: trackers[1].body: issue.md is a template, and notifications.templates_dir does not say where"),
    ("marker_field: 3", "body: ../etc", "10: trackers[1].body: not allowed; allowed: default, or the name of a file in notifications.templates_dir"),
    ("create_issue: shop-issues", "create_issue: shop", "18: alert_rules[0].create_issue: shop is not configured; allowed: shop-issues, shop-mine, all-round"),
    (", create_issue: shop-issues", "", "18: alert_rules[0].notify: Field required: nobody is told and no issue is made"),
    ("{hub: ben}", "{hubb: ben}", "14: members[1].accounts.hubb: hubb is not configured"),
    ("{hub: ben}", "{hub: Anna-GH}", "14: members[1].accounts.hub: account used twice: Anna-GH"),
    ('mine: "6"', "mine: 6", "13: members[0].accounts.mine: Input should be a valid string, and without quotes this is a number"),
    ('{mine: "9"}', '{yours: "9"}', "16: teams[0].accounts.yours: yours is not configured"),
    ('token: "${env:TOKEN}"', "token: ghp_abcdef", "5: integrations[0].token: a secret that stands in the file; allowed is a reference to the environment, as ${env:NAME}"),
    ('password: "${env:WORD}"', "password: hunter2", "7: integrations[2].password: a secret that stands in the file"),
    ('token: "${env:TOKEN}"', 'token: "${env:EMPTY}"', "5: integrations[0].token: empty, or with characters that no header may hold"),
    ('token: "${env:TOKEN}"', 'token: "${env:LINES}"', "5: integrations[0].token: empty, or with characters that no header may hold"),
    (", allow_insecure: true", "", "6: integrations[1].url: not encrypted, so that whoever is on the way can read what logs in; allowed with allow_insecure: true, or with TLS"),
    ("https://round.", "https://bot:pw@round.", "7: integrations[2].url: with a name or password before the @"),
    ("https://round.", "https://${env:WORD}@round.", "7: integrations[2].url: with a name or password before the @"),
    ("example/tracker", "example/tracker?key=1", "7: integrations[2].url: with something behind ? or #"),
    ("round.acme.example", "round:99999", "7: integrations[2].url: no address that can be asked"),
    ("type: roundup", "type: trac", "7: integrations[2].type: unknown; allowed: github, redmine, roundup (found 'trac')"),
    ("allow_private: [127.0.0.0/8]", "allow_private: [loopback]", "6: integrations[1].allow_private[0]: not a network"),
]  # fmt: skip


def mistakes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "f.yaml", SECRETS | {"EMPTY": "", "LINES": "a\nb"})
    told = str(caught.value)
    assert "s3cret" not in told
    assert "hunter2" not in told
    assert "ghp_" not in told
    return told.splitlines()


def good(**environ: str) -> Config:
    return parse_config(GOOD, "f.yaml", SECRETS | environ, folder=Path("/etc/tasks"))


@pytest.mark.parametrize(("written", "instead", "said"), SWAPS, ids=[said for _, _, said in SWAPS])
def test_a_mistake_is_told_with_its_place(written: str, instead: str, said: str) -> None:
    assert GOOD.count(written) == 1
    told = mistakes(GOOD.replace(written, instead))
    assert any(line.startswith(f"f.yaml:{said}") for line in told), told


def test_a_rule_of_a_project_that_its_tracker_does_not_serve() -> None:
    rule = "alert_rules: [{name: x, when: [new_group], create_issue: shop-issues}]"
    text = GOOD.replace("keys: [{public_key: efgh}]", f"keys: [{{public_key: efgh}}], {rule}")
    (told,) = mistakes(text)
    assert told.startswith(
        "f.yaml:3: projects[1].alert_rules[0].create_issue: shop-issues is not for project office"
    )


def test_all_mistakes_are_told_at_once() -> None:
    text = GOOD.replace("repository: acme/shop", "project: shop").replace('"${env:KEY}"', "in-the-open")
    assert [line.split(": ")[1] for line in mistakes(text)] == [
        "integrations[1].token", "trackers[0].project", "trackers[0].repository",
    ]  # fmt: skip


def test_what_is_shown_is_a_valid_file_without_secrets() -> None:
    shown = yaml.safe_dump(shown_config(good(), GOOD))
    assert "s3cret" not in shown
    again = parse_config(shown, "f.yaml", SECRETS, folder=Path("/etc/tasks"))
    assert again == good()


def test_blanks_around_a_token_are_no_part_of_it() -> None:
    (hub, *_) = good(TOKEN="  tok-3n\n").integrations
    assert getattr(hub, "token").get_secret_value() == "tok-3n"  # noqa: B009 - any of three types


def test_a_file_of_certificates_is_found_beside_the_configuration() -> None:
    assert good().integrations[0].ca_file == "/etc/tasks/corp.pem"


def test_check_names_files_that_are_not_there_and_a_service_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "tasks_pipeline.yaml"
    text = GOOD.replace("tracker: Bug, marker_field: 3", "body: issue.md")
    file.write_text(f"{text}notifications: {{templates_dir: {tmp_path}}}\n")
    command = ["--home", str(tmp_path), "config", "check"]
    told = CliRunner().invoke(main, command, env=SECRETS)
    assert told.exit_code == 1
    assert (
        f":5: integrations[0].ca_file: {tmp_path}/corp.pem cannot be read: No such file or directory"
        in told.output
    )
    assert f":10: trackers[1].body: {tmp_path}/issue.md cannot be read: No such file" in told.output
    assert parse_config(file.read_text(), environ=SECRETS).trackers
    (tmp_path / "corp.pem").touch()
    (tmp_path / "issue.md").touch()
    assert CliRunner().invoke(main, command, env=SECRETS).exit_code == 0


def test_the_example_in_the_document_is_valid() -> None:
    document = (Path(__file__).parents[2] / "docs" / "integrations.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```", document, re.MULTILINE | re.DOTALL)
    environ = dict.fromkeys(re.findall(r"\$\{env:(\w+)\}", example), "abcd1234")
    assert len(parse_config(example, environ=environ).trackers) == 3


def test_placeholders_are_what_stands_in_braces() -> None:
    assert placeholders("{short_id}: {tag:a b} {} }{") == ["short_id", "tag:a b", ""]
