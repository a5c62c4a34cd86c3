"""Slips of the pen in the configuration file: each is told with its place, none tells a secret, none is another error."""

from __future__ import annotations

import os
import re
import traceback
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from tasks_pipeline.config import Config, ConfigError, load_config, parse_config
from tests.support.config_models import Reached, dotted, reached, spelled

PLACES = reached()
MARKER = "s3cret\\h1dden'value"
TOKEN = {"TOKEN": "tok-3n"}
"""What documents of `reached` refer to where a secret may only be referred to."""
BASE = "projects:\n  - {id: 1, slug: shop, keys: [{public_key: abcd}]}\n"


def mistakes(text: str, **environ: str) -> list[str]:
    """What is told, one mistake a line."""
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "f.yaml", TOKEN | environ)
    lines = str(caught.value).splitlines()
    assert lines == [mistake.text("f.yaml") for mistake in caught.value.mistakes]
    return lines


def as_yaml(document: Any) -> str:
    return yaml.safe_dump(document, sort_keys=False, width=10_000)


def line_of(text: str, piece: str) -> int:
    (number,) = [number for number, line in enumerate(text.splitlines(), 1) if piece in line]
    return number


def everything_told(error: BaseException) -> str:
    """What a log, a traceback, or Dagster's report of an error could show."""
    return "\n".join([*traceback.format_exception(error), repr(error), repr(getattr(error, "mistakes", ""))])


def told_of(text: str, environ: dict[str, str]) -> ConfigError | None:
    """The error that a text ends in, or None when it is a configuration."""
    try:
        assert isinstance(parse_config(text, "f.yaml", TOKEN | environ), Config)
    except ConfigError as error:
        return error
    return None


# Unknown fields -------------------------------------------------------------------------------------------------------


def test_every_model_is_reached() -> None:
    found = {place.model for place in PLACES}
    waiting: list[type[BaseModel]] = [BaseModel]
    defined: set[type[BaseModel]] = set()
    while waiting:
        for model in waiting.pop().__subclasses__():
            waiting.append(model)
            if model.__module__.startswith("tasks_pipeline.config."):
                defined.add(model)
    assert {model.__name__ for model in defined - found} == {"Model", "Channel", "IntegrationBase"}
    for place in PLACES:
        if place.model.__name__ not in ("Preferences", "QuietHours", "DigestSchedule"):
            parse_config(
                as_yaml(place.document), environ=TOKEN
            )  # or the mistakes below might be of another kind


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.label)
def test_an_unknown_field_is_told_with_its_line_and_what_is_allowed(place: Reached) -> None:
    text = as_yaml(place.with_field("zz_unknown", "${env:MARKER}"))
    where = dotted((*place.path, "zz_unknown"))
    allowed = ", ".join(sorted(spelled(place.model)))
    said = f"f.yaml:{line_of(text, 'zz_unknown')}: {where}: unknown field; allowed: {allowed}"
    assert said in mistakes(text, MARKER=MARKER)


def test_names_are_those_of_the_file() -> None:
    rule = "alert_rules:\n- name: a\n  when: [monitor]\n  notify: [members]\n"
    assert mistakes(BASE + rule + "  iff: {}\n") == [
        "f.yaml:7: alert_rules[0].iff: unknown field; allowed: create_issue, enabled, every_minutes, if, name, notify, severity,"
        " storm, when (did you mean if?)"
    ]
    assert (
        "allowed: create_issue, enabled, every_minutes, if,"
        in mistakes(BASE + rule + "  conditions: {}\n")[0]
    )
    assert mistakes(BASE + rule + "  if:\n    all:\n    - tag: {name: a, value: b}\n") == [
        "f.yaml:9: alert_rules[0].if.all[0].tag.is: Field required",
        "f.yaml:9: alert_rules[0].if.all[0].tag.value: unknown field; allowed: is, name",
    ]


# Secrets --------------------------------------------------------------------------------------------------------------

FIELDS = [
    pytest.param(place, name, id=f"{place.label}.{name}") for place in PLACES for name in spelled(place.model)
]


@pytest.mark.parametrize(("place", "name"), FIELDS)
def test_a_secret_in_any_field_is_not_told(place: Reached, name: str) -> None:
    reference = "${env:MARKER}"
    told = 0
    for value in (
        reference,
        f"https://x:{reference}@",
        [reference],
        {"a": reference},
        [[{"b": [reference]}]],
    ):
        text = as_yaml(place.with_field(name, value))
        error = told_of(text, {"MARKER": MARKER})
        if error is not None:
            told += re.search(rf"^f\.yaml:[0-9]+: .*\b{name}\b", str(error), re.MULTILINE) is not None
            shown = everything_told(error)
            assert "h1dden" not in shown
            assert "s3cret" not in shown
    assert told


def test_whoever_looks_may_lack_any_secret() -> None:
    tried = 0
    for place, name in [(each, name) for each in PLACES for name in spelled(each.model)]:
        text = as_yaml(place.with_field(name, "${env:SOME_SECRET}"))
        good = ("https://a.example/s3cret", "some-word")
        if any(told_of(text, {"SOME_SECRET": value}) is None for value in good):
            assert told_of(text, {}) is not None
            config = parse_config(text, "f.yaml", {}, to_look=True)
            assert isinstance(config, Config), (place.label, name)
            tried += 1
    assert tried > 40


def test_what_is_written_into_a_private_field_is_not_told() -> None:
    private = [
        (place, name)
        for place in PLACES
        for name, info in spelled(place.model).items()
        if SecretStr in (info.annotation, *get_args(info.annotation)) or "url" in name or name == "headers"
    ]
    assert len(private) > 20
    for place, name in private:
        for value in (
            "hooks.example/T000/s3cret MARKER",
            ["s3cret"],
            {"a": {"b": "s3cret"}},
            {"s3cret x": 1},
        ):
            if name == "headers" and value == {"s3cret x": 1}:
                continue  # the name of a header is no secret
            text = as_yaml(place.with_field(name, value))
            error = told_of(text, {})
            assert error is None or "s3cret" not in everything_told(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("members: [{email: '${env:A}'}, {email: '${env:A}'}]", "members[1].email: email used twice: ${env:A}"),
        ("teams: [{slug: a, members: ['${env:A}']}]", "teams[0].members[0]: ${env:A} is not configured"),
        ("teams: [{slug: a, channel: b}]\nchannels: [{type: ntfy, topic: t, name: '${env:B}'}]", "allowed: ${env:B}"),
        ("watch: {lag_seconds: {warning: '${env:N}', critical: 1}}", "allowed is at least warning (${env:N})"),
        ("channels: [{type: '${env:A}', name: a}]", "channels[0].type: unknown; allowed: mail, webhook"),
        ("channels: [{type: mail, name: m, host: h, sender: s, password: 's3cret'}]", "password without username"),
    ],
)  # fmt: skip
def test_messages_of_validators_are_washed(text: str, expected: str) -> None:
    environ = {"A": "s3cret@Marker.example", "B": "s3cret-channel", "N": "73529"}
    with pytest.raises(ConfigError) as caught:
        parse_config(BASE + text, "f.yaml", environ)
    assert expected in str(caught.value)
    assert not re.search("s3cret|Marker|73529", everything_told(caught.value), re.IGNORECASE)


def test_a_part_of_a_secret_is_not_told_either() -> None:
    rules = "projects:\n  - {id: 1, slug: a, keys: [{public_key: abcd}], grouping: {fingerprint_rules: '${env:R}'}}"
    (said,) = mistakes(rules, R="hunter2:x -> y")
    assert "hunter2" not in said
    assert "(found '${env:R}')" in said
    assert "hunter2" in mistakes(rules.replace("${env:R}", "hunter2:x -> y"))[0]  # there it helps


# Files ----------------------------------------------------------------------------------------------------------------

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
BROKEN_TEXTS = {
    "empty": ("", ":1: found nothing, allowed is a mapping"),
    "a comment alone": ("# nothing\n", ":1: found nothing"),
    "a list": ("- 1\n", ":1: found a list"),
    "a number": ("5\n", ":1: found a number"),
    "truncated": (BASE + "receiver: {port: 1", ":3: not YAML: did not find expected ',' or '}'"),
    "truncated text": (BASE + "organisation: {name: 'a", ":3: not YAML: found unexpected end of stream"),
    "a tab": (BASE + "receiver:\n\tport: 1\n", ":4: not YAML: a tab where a field begins"),
    "a field twice": (BASE + "receiver: {}\nreceiver: {}\n", ":4: receiver: this field stands in line 3 already"),
    "a field within a list twice": (BASE + "  - {id: 2, id: 3}\n", ":3: projects[1].id: this field stands in line 3"),
    "two documents": (BASE + "---\na: 1\n", ":3: a second document"),
    "an alias of nothing": (BASE + "receiver: *a\n", ":3: receiver: not YAML: there is no anchor &a"),
    "an alias of itself": ("a: &a\n  - *a\n", ":2: a[0]: the alias *a refers to what it is a part of"),
    "a merge of itself": ("a: &a\n  <<: *a\n", ":2: a.'<<': the alias *a refers to what it is a part of"),
    "a merge of text": (BASE + "receiver: {<<: 5}\n", ":3: receiver.'<<': `<<` takes over the fields of a mapping"),
    "billion laughs": (LAUGHS, "aliases make more than"),
    "deep lists": ("[" * 100, ":1: [0][0]"),
    "deeper lists": ("[" * 100_000, ":1: "),
    "deep mappings": ("{a: " * 5000, ":1: a.a.a"),
    "deep blocks": ("- " * 5000, ":1: [0][0]"),
    "a date": ("projects:\n- {id: 1, slug: 2024-01-01, keys: [{public_key: abcd}]}", "this is a date (found 2024-01-01)"),
    "no date": ("projects:\n- {id: 1, slug: 2024-13-45, keys: [{public_key: abcd}]}", ":2: projects[0].slug: YAML takes this for a date"),
    "a word of YAML": (BASE + "organisation: {name: on}\n", ":3: organisation.name: Input should be a valid string, and without quotes this is true or false (found on)"),
    "a key of digits": ("projects:\n- {id: 1, slug: a, keys: [{public_key: 1234}]}", ":2: projects[0].keys[0].public_key: Input should be a valid string, and without quotes this is a number"),
    "a huge number": (BASE + f"receiver: {{port: {'9' * 5000}}}\n", ":3: receiver.port: YAML takes this for a number"),
    "a huge number in hex": (BASE + f"receiver: {{port: 0x{'9' * 5000}}}\n", ":3: receiver.port: Input should be less than or equal to 65535 (found 0x999"),
    "an object": (BASE + "x: !!python/object:os.system {}\n", ":3: x: the tag tag:yaml.org,2002:python/object:os.system is not allowed"),
    "a tag of one's own": (BASE + "receiver: !vault {}\n", ":3: receiver: the tag !vault is not allowed"),
    "a value that is none of its tag": (BASE + "receiver: {port: !!int x}\n", ":3: receiver.port: YAML takes this for a number"),
    "a list as a name": (BASE + "? [a]\n: 1\n", ":3: a list or mapping as the name of a field"),
    "a number as a name": (BASE + "5: 1\n", ":3: 5: unknown field; allowed: alert_rules"),
    "no name": (BASE + "~: 1\n", ":3: '~': unknown field"),
    "a name with a line break": (BASE + '"a\\nb": 1\n', ":3: 'a\\nb': unknown field"),
    "a reference to nothing": (BASE + "organisation: {name: '${env:MISSING}'}\n", ":3: organisation.name: the environment variable MISSING is not set"),
    "a reference without a name": (BASE + "organisation: {name: '${env:}'}\n", ":3: organisation.name: a reference to the environment that cannot be read"),
    "a reference with a blank": (BASE + "organisation: {name: 'a ${env: HOME}'}\n", ":3: organisation.name: a reference to the environment that cannot be read"),
    "a reference that does not end": (BASE + "organisation: {name: '${env:HOME'}\n", ":3: organisation.name: a reference to the environment that cannot be read"),
    "a reference as a name": (BASE + "'${env:HOME}': 1\n", ":3: '${env:HOME}': a reference to the environment in the name of a field"),
    "a reference without quotes": (BASE + "organisation: {name: ${env:HOME}}\n", "within [ ] and { } a reference needs quotes"),
    "no regular expression": ("projects:\n- {id: 1, slug: a, keys: [{public_key: abcd}], scrubbing: {patterns: ['(']}}", ":2: projects[0].scrubbing.patterns[0]: not a usable regular expression: unclosed group (found '(')"),
    "no time zone": (BASE + "members: [{email: a@b, timezone: Europe/Berlim}]\n", ":3: members[0].timezone: not a time zone; allowed are names such as"),
    "a time zone with NUL": (BASE + 'members: [{email: a@b, timezone: "a\\0b"}]\n', ":3: members[0].timezone: not a time zone"),
    "a time zone that is a folder": (BASE + "members: [{email: a@b, timezone: Europe}]\n", ":3: members[0].timezone: not a time zone"),
    "a word where a mapping belongs": (BASE + "receiver: 5\n", ":3: receiver: Input should be a mapping; allowed: host,"),
    "a mapping where a list belongs": ("projects: {id: 1}\n", ":1: projects: Input should be a list (found a mapping)"),
    "another kind of channel": (BASE + "channels:\n- {type: webhok, name: a}\n", ":4: channels[0].type: unknown; allowed: mail, webhook,"),
    "no kind of channel": (BASE + "channels:\n- {name: a}\n", ":4: channels[0].type: Field required; allowed: mail, webhook,"),
    "a channel twice": (BASE + "channels:\n- {type: ntfy, topic: a, name: a}\n- {type: ntfy, topic: b, name: a}\n", ":5: channels[1].name: name used twice: a"),
    "a project twice": (BASE + "- {id: 2, slug: shop, keys: [{public_key: efgh}]}\n".replace("- ", "  - "), ":3: projects[1].slug: slug used twice: shop"),
    "two kinds of schedule in vain": ("projects:\n- {id: 1, slug: a, keys: [{public_key: abcd}], monitors: [{slug: a, schedule: {evry: 1}}]}", ":2: projects[0].monitors[0].schedule.evry: unknown field; allowed: every, unit (did you mean every?)"),
    "a slug that is a path": (BASE + "members: [{email: a@b, projects: {../x: {}}}]\n", ":3: members[0].projects.'../x': the name of this field: not allowed; allowed: 1 to 50 small letters"),
    "a project of no one": (BASE + "members: [{email: a@b, projects: {2024: {}}}]\n", ":3: members[0].projects.2024: 2024 is not configured; allowed: shop"),
}  # fmt: skip
BROKEN_BYTES = {
    "NUL": (BASE.encode() + b"x: \x00\n", ":3: the character U+0000 is not allowed in YAML"),
    "an escape sequence": (
        BASE.encode() + b"x: \x1b[2J\n",
        ":3: the character U+001B is not allowed in YAML",
    ),
    "latin-1": (BASE.encode() + b"# caf\xe9\n", ": cannot be read: it is not UTF-8: byte 0xe9 in line 3"),
    "UTF-16": (BASE.encode("utf-16"), ": cannot be read: it is not UTF-8: byte 0xff in line 1"),
    "huge": (b"#" * (10 * 1024 * 1024 + 1), ": cannot be read: it is larger than 10485760 bytes"),
    "many values": (b"- 1\n" * 251_000, "more than 250000 values"),
}
BROKEN = {name: (text.encode(), said) for name, (text, said) in BROKEN_TEXTS.items()} | BROKEN_BYTES


@pytest.mark.parametrize(("raw", "expected"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_a_config_error_that_says_where(raw: bytes, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    told = str(caught.value)
    assert expected in told
    assert len(told) < 20_000
    assert all(line.startswith(f"{file}:") and line.isprintable() for line in told.splitlines())


def test_what_is_no_readable_file_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "file").touch()
    for path, said in (
        ("loop.yaml", "Too many levels of symbolic links"),
        ("dangling.yaml", "No such file or directory"),
        ("missing.yaml", "No such file or directory"),
        ("folder.yaml", "Is a directory"),
        ("file/f.yaml", "Not a directory"),
        ("pipe.yaml", "a named pipe"),
        ("a\0b", "null"),
        ("x" * 300, "File name too long"),
    ):
        with pytest.raises(ConfigError, match="cannot be read") as caught:
            load_config(tmp_path / path)
        assert said in str(caught.value)


def test_mistakes_of_every_kind_are_told_together_in_the_order_of_the_file() -> None:
    text = BASE + (
        "organisation: {name: '${env:MISSING}', slug: A B}\n"
        "receiver:\n  port: x\n  port: y\n  hots: a\n"
        "retention: {raw_days: 2024-13-45}\n"
        "teams: [{slug: 5}]\n"
    )
    told = [re.match(r"f\.yaml:(\d+): ([^:]+):", line) for line in mistakes(text)]
    assert [found.groups() for found in told if found] == [
        ("3", "organisation.name"), ("3", "organisation.slug"), ("5", "receiver.port"), ("6", "receiver.port"),
        ("7", "receiver.hots"), ("8", "retention.raw_days"), ("9", "teams[0].slug"),
    ]  # fmt: skip


def test_a_file_in_which_all_is_wrong_fills_no_log() -> None:
    text = "projects:\n" + "".join(f"  - {{id: {n}, slg: a}}\n" for n in range(1, 301))
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "f.yaml")
    assert str(caught.value).splitlines()[-1] == "f.yaml: and 800 more mistakes"
    assert len(caught.value.mistakes) == 900


def test_a_validator_that_fails_is_a_config_error_without_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(value: str) -> bool:
        raise OverflowError(value)

    monkeypatch.setattr("tasks_pipeline.config.monitors.is_crontab", fails)
    text = BASE.replace("}]}", "}], monitors: [{slug: a, schedule: s3cret}]}")
    (said,) = mistakes(text)
    assert said.startswith("f.yaml: it cannot be checked: OverflowError in fails, line ")


# What goes on to work -------------------------------------------------------------------------------------------------


def test_anchors_and_merges_are_taken_with_the_line_of_what_is_wrong() -> None:
    good = (
        "projects:\n  - &first {id: 1, slug: shop, keys: &keys [{public_key: abcd}]}\n"
        "  - {<<: *first, id: 2, slug: web, keys: [{public_key: efgh}]}\n"
        "  - {<<: [{id: 3, slug: three}, *first], keys: [{public_key: ijkl}]}\n"
    )
    config = parse_config(good)
    assert [(p.id, p.slug, p.keys[0].public_key) for p in config.projects] == [
        (1, "shop", "abcd"), (2, "web", "efgh"), (3, "three", "ijkl"),
    ]  # fmt: skip
    twice = "receiver:\n  <<: {port: 1, host: a}\n  <<: {port: 2}\n  max_items: 3\n"
    receiver = parse_config(BASE + twice).receiver
    assert (receiver.host, receiver.port, receiver.max_items) == ("a", 2, 3)
    assert mistakes(good.replace("id: 1,", "id: 1, nmae: x,"))[0].startswith(
        "f.yaml:2: projects[0].nmae: unknown"
    )


def test_times_need_no_quotes() -> None:
    text = "members: [{email: a@b, notifications: {quiet_hours: {start: 22:00, end: 07:00}, digest: {at: [17:30]}}}]"
    wanted = parse_config(BASE + text).members[0].notifications
    assert wanted.quiet_hours
    assert (wanted.quiet_hours.start.hour, wanted.quiet_hours.end.hour) == (22, 7)
    assert (wanted.digest.at[0].hour, wanted.digest.at[0].minute) == (17, 30)


def test_names_are_texts_whatever_yaml_takes_them_for() -> None:
    text = "projects:\n  - {id: 1, slug: '2024', keys: [{public_key: abcd}]}\nmembers: [{email: a@b, projects: {2024: {}}}]"
    assert set(parse_config(text).members[0].projects) == {"2024"}


def test_references_stand_anywhere_in_a_value_and_are_put_in_once() -> None:
    text = BASE + "organisation: {name: 'a ${env:A}-${env:B} $${x} ${y}'}\nreceiver: {port: '${env:PORT}'}\n"
    config = parse_config(text, environ={"A": "${env:B}", "B": "b", "PORT": "9001"})
    assert (config.organisation.name, config.receiver.port) == ("a ${env:B}-b $${x} ${y}", 9001)


def test_the_environment_is_bounded_too() -> None:
    text = BASE + f"organisation: {{name: '{'${env:A}' * 1000}'}}\n"
    assert "more than 10485760 bytes" in mistakes(text, A="x" * 100_000)[0]


# Anything -------------------------------------------------------------------------------------------------------------

NAMES = sorted(
    {name for place in PLACES for name in spelled(place.model)} | {"zz", "<<", "1", "a b", "${env:A}"}
)
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.binary(max_size=5) | st.text(max_size=12)
    | st.sampled_from(["${env:A}", "x${env:B}", "${env:}", "mail", "webhook", "events", "metric", "22:00", "a@b", "team:a"])
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.sampled_from(PLACES),
    st.recursive(
        VALUES,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
        ),
        max_leaves=10,
    ),
    st.data(),
)
def test_any_value_anywhere_is_a_configuration_or_a_config_error(
    place: Reached, value: Any, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from([*spelled(place.model), "zz"]))
    text = as_yaml(place.with_field(name, value))
    error = told_of(text, {"A": MARKER, "B": "5"})
    if error is not None:
        assert "s3cret" not in everything_told(error)
        assert all(re.match(r"f\.yaml(:\d+)?: ", line) for line in str(error).splitlines())


PIECES = st.sampled_from(
    ["a", "projects", ": ", "\n", "  ", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "<<: ", "!!int ", "!!set ", "? ", "|", ">",
     "'", '"', "#", "---\n", "...\n", "%YAML 1.1\n", "\t", "${env:A}", "2024-99-99", "0x", "1:99", "~", "=", "\x85", "\u2028",
     "\ufeff", "\x00", "\ud800", "@", "`", "!"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join) | st.text(st.characters(), max_size=50))
def test_any_yaml_is_a_configuration_or_a_config_error(text: str) -> None:
    error = told_of(text, {"A": MARKER})
    assert error is None or "s3cret" not in everything_told(error)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80) | st.integers(0, len(BASE)).map(lambda end: BASE.encode()[:end]))
def test_any_bytes_are_a_configuration_or_a_config_error(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "f.yaml").write_bytes(raw)
    try:
        assert isinstance(load_config(tmp_path / "f.yaml"), Config)
    except ConfigError as error:
        assert str(error).startswith(str(tmp_path / "f.yaml"))  # noqa: PT017


def test_repositories_have_names_of_their_own() -> None:
    twice = "organisation: {repositories: [{name: acme/shop}, {name: acme/shop}]}\n"
    (said,) = mistakes(BASE + twice)
    assert "organisation.repositories[1].name: name used twice: acme/shop" in said
    unknown = BASE.replace("slug: shop,", "slug: shop, repository: acme/nope,")
    (said,) = mistakes(unknown + "organisation: {repositories: [{name: acme/shop}]}\n")
    assert "projects[0].repository: acme/nope is not configured; allowed: acme/shop" in said
    (said,) = mistakes(BASE + "members: [{email: a@acme.example, notifications: {deploys: sometimes}}]\n")
    assert "'always', 'committed_only' or 'never'" in said
