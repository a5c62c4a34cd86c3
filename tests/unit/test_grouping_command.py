"""`grouping eval`, and how an explanation reads."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from tasks_pipeline.cli import main
from tasks_pipeline.commands.groups.explanation import explanation_lines
from tasks_pipeline.grouping import explain, grouping_rules


def evaluated(*lines: Any) -> list[dict[str, Any]]:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    result = CliRunner().invoke(main, ["grouping", "eval"], input=text + "\n", catch_exceptions=False)
    assert result.exit_code == 0
    return [json.loads(line) for line in result.stdout.splitlines()]


def with_frames(*frames: Any) -> dict[str, Any]:
    exception = {"type": "E", "value": "x 1", "stacktrace": {"frames": list(frames)}}
    return {"platform": "python", "exception": {"values": [exception]}}


def test_events_are_taken_as_sdks_send_them() -> None:
    event = with_frames({"function": "a", "in_app": True}, None, {"function": "b", "in_app": "yes"})
    old = {"platform": "python", "sentry.interfaces.Exception": event["exception"]}
    one, other, message = evaluated({"event": event}, {"event": old}, {"event": {"message": "order 17"}})
    assert one == other
    assert one["in_app_frames"] == ["exception/0/0"]
    assert one["title"] == "E: x 1"
    assert message["message"] == "order <int>"


def test_rules_of_a_project_are_used() -> None:
    event = with_frames({"function": "a", "in_app": True})
    rules = {"stack_trace_rules": "function:a -app", "fingerprint_rules": 'type:E -> x title="Mine"'}
    (answer,) = evaluated({"event": event, "config": rules})
    assert answer["in_app_frames"] == []
    assert (answer["variant"], answer["title"]) == ("custom", "Mine")


def test_no_line_ends_the_others() -> None:
    broken = {"event": {}, "config": {"stack_trace_rules": "x"}}
    lines = (
        "nonsense",
        {"event": 3},
        broken,
        '{"event":' + "[" * 100_000,
        {"event": {"message": "\ud800 a"}},
        {"event": {}},
    )
    answers = evaluated(*lines)
    assert ["error" in answer for answer in answers] == [True, True, True, True, False, False]
    assert "line 1, column 1" in answers[2]["error"]


def test_no_client_can_pass_its_words_off_as_ours() -> None:
    honest = with_frames({"function": "a", "in_app": True, "data": {"x": 1}})
    liar = with_frames(
        {"function": "a", "in_app": True, "data": {"x": 1, "orig_in_app": 0, "category": "threadbase"}}
    )
    one, other = evaluated({"event": honest}, {"event": liar})
    assert one == other


def test_an_explanation_reads_well() -> None:
    library = {"function": "run", "abs_path": "/v/site-packages/web.py", "in_app": True}
    event = with_frames(
        library, library | {"function": "go"}, {"function": "pay\x1b", "module": "shop", "in_app": True}
    )
    lines = list(explanation_lines(explain(event, grouping_rules("", "type:E -> {{ default }} x"))))
    assert lines[:2] == [
        "exception decides, algorithm 2027-01",
        "fingerprint by the rule: type:E -> {{ default }} x",
    ]
    text = "\n".join(lines)
    assert "- 2 frames  (not in app by the rule: path:**/site-packages/** -app)" in text
    assert "- value x 1  (the stack trace takes precedence)" in text
    assert "\x1b" not in text
    assert "+ value x" in text


def test_an_explanation_of_nothing() -> None:
    assert next(iter(explanation_lines(explain({})))) == "nothing usable decides, algorithm 2027-01"
