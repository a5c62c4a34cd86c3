"""Messages as each service gets them: the fields it requires, and nothing of a stranger that means something there."""

from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tasks_pipeline.config import Config, parse_config
from tasks_pipeline.config.channels import AnyChannel, MailChannel
from tasks_pipeline.notifications.channels import open_channel
from tasks_pipeline.notifications.channels.base import Sender
from tasks_pipeline.notifications.channels.http import retry_after
from tasks_pipeline.notifications.channels.mail import MailSender
from tasks_pipeline.notifications.channels.shapes.parts import markdown
from tasks_pipeline.notifications.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from tasks_pipeline.notifications.message import Frame, GroupLine, Message, Section
from tasks_pipeline.notifications.rendering import render
from tasks_pipeline.texts import clean
from tests.support.outside import http_receiver, mail_server

HOSTILE = "<img src=x onerror=alert(1)> <!channel> @everyone [x](javascript:y) ```x``` \u202egnp.exe \x1b[31m\r\nBcc: evil@x.example"
TOKEN = "t0psecret-token"


def message(text: str = "ValueError: no", **fields: Any) -> Message:
    found: dict[str, Any] = {
        "key": "alert:1:x", "thread": "group:7", "type": "alert", "status": "firing", "severity": "critical",
        "subject": f"[SHOP-7] New error {clean(text, 50)}", "title": clean(text, 300), "project": "shop", "rule": "all",
        "culprit": clean(text, 100), "changed": clean(text, 100), "facts": (("Release", clean(text, 100)),),
        "frames": (Frame(clean(text, 50), 3, "f", ((2, "a", False), (3, clean(text, 80), True))),),
        "sections": (Section(clean(f"Variables of {text}", 100), ((clean(text, 40), clean(text, 100)),)),),
        "groups": (GroupLine("SHOP-7", clean(text, 100), events=3, before=1, users=2),),
        "links": (("UI", "https://ui.example/x"),), "commands": ("tasks-pipeline groups show SHOP-7",),
    }  # fmt: skip
    return Message(**{**found, **fields})


def config(channel: str = "") -> Config:
    return parse_config(
        f"projects: [{{id: 1, slug: shop, keys: [{{public_key: abcdef}}]}}]\nchannels: [{channel}]"
    )


def opened(whole: Config) -> closing[Sender]:
    """The sender of the first channel, closed in the end: it holds connections and processes."""
    return closing(open_channel(whole.channels[0], whole))


def post(text: str, sent: Message) -> tuple[dict[str, str], Any]:
    """Send through a channel whose address is a real server; gives the headers and the document that arrived."""
    with http_receiver() as http:
        whole = config(text.replace("URL", http.url))
        with opened(whole) as sender:
            sender.send(sent, address="", idempotency_key="k1")
        (posted,) = http.posted
        return {**posted.headers, "path": posted.path}, posted.json


def test_slack_gets_blocks_within_its_limits() -> None:
    _, document = post("{name: s, type: slack, url: 'URL/services/T/B/x'}", message(HOSTILE * 50))
    assert document["text"]
    assert 1 <= len(document["blocks"]) <= 50
    text = json.dumps(document)
    assert "<!channel>" not in text
    assert "<img" not in text
    for block in document["blocks"]:
        if block["type"] == "header":
            assert len(block["text"]["text"]) <= 150
        elif block["type"] == "section":
            assert len(block.get("text", {}).get("text", "")) <= 3000
            assert len(block.get("fields", ())) <= 10


MARKS = "<!channel> `rm -rf` *now* ~not~ _so_ :wave: &lt; by <@U12345> <https://evil.test|click> @everyone www.evil.test\r\n> second\u2028- third"


def texts_of(document: object) -> list[str]:
    """Every text of a document."""
    if isinstance(document, dict):
        return [text for value in document.values() for text in texts_of(value)]
    if isinstance(document, list):
        return [text for value in document for text in texts_of(value)]
    return [document] if isinstance(document, str) else []


def marked_up(document: object) -> list[str]:
    """The texts of blocks in which Slack looks for markup."""
    if isinstance(document, dict) and document.get("type") == "mrkdwn":
        return [document["text"]]
    children = (
        document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    )
    return [text for child in children for text in marked_up(child)]


def test_slack_shows_texts_as_they_are() -> None:
    whole = "".join(MARKS.split())
    note = {
        "notes": ("An *event*",),
        "frames": (Frame("a.py", 3, "f", ((3, "```" + "&" * 800 + "```", True),)),),
    }
    _, document = post("{name: s, type: slack, url: 'URL/services/T/B/x'}", message(MARKS, **note))
    assert document["mrkdwn"] is False
    fence, link, command = marked_up(document["blocks"])
    assert (fence[:9], fence[-3:], "`" in fence[3:-3]) == ("```a.py:3", "```", False)
    assert (link, command) == ("<https://ui.example/x|UI>", "`tasks-pipeline groups show SHOP-7`")
    plain = json.dumps(document["blocks"], ensure_ascii=False)
    assert '"emoji": true' not in plain
    title = document["blocks"][1]["text"]
    assert (title["type"], title["emoji"]) == ("plain_text", False)
    shown = title["text"].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert whole in "".join(shown.split())
    assert shown.split("\n")[0].endswith("- third")  # the title is on one line
    for text in texts_of(document):
        assert not any(mark in text for mark in ("<!", "<@", "<https://evil"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("*a* _b_ ~~c~~ `d` ||e|| [f](g)", r"\*a\* \_b\_ \~\~c\~\~ \`d\` \|\|e\|\| \[f\]\(g\)"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("2) item -x 3.5", r"2\) item -x 3.5"),
        ("# head > quote &lt; \\", r"\# head \> quote \&lt; \\"),
        ("@here https://evil.test www.evil.test", "@\u200bhere https:\u200b//evil.test www\u200b.evil.test"),
    ],
)
def test_markdown_means_nothing_in_texts(text: str, shown: str) -> None:
    assert markdown(text) == shown


def test_discord_and_telegram_show_texts_as_they_are() -> None:
    _, document = post("{name: d, type: discord, url: 'URL/api/webhooks/1/x'}", message(MARKS))
    (embed,) = document["embeds"]
    for text in (embed["title"], embed["description"], embed["fields"][0]["value"]):
        assert r"\:wave\:" in text
        assert r"\*now\*" in text
        assert "@everyone" not in text
    _, document = post(
        "{name: t, type: telegram, bot_token: '1:x', chat_id: '7', url: 'URL'}", message(MARKS)
    )
    assert "@everyone" not in document["text"]
    assert "://evil" not in document["text"]
    assert "www.evil" not in document["text"]
    assert '<a href="https://ui.example/x">UI</a>' in document["text"]


def test_teams_gets_an_adaptive_card() -> None:
    _, document = post("{name: t, type: teams, url: 'URL/workflow'}", message(HOSTILE))
    (attachment,) = document["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert attachment["content"]["type"] == "AdaptiveCard"
    assert "[x](" not in json.dumps(document)


def test_discord_mentions_nobody() -> None:
    _, document = post("{name: d, type: discord, url: 'URL/api/webhooks/1/x'}", message(HOSTILE * 50))
    assert document["allowed_mentions"] == {"parse": []}
    (embed,) = document["embeds"]
    assert len(embed["title"]) <= 256
    assert len(embed["description"]) <= 4096
    assert "@everyone" not in json.dumps(document)


@pytest.mark.parametrize(("status", "action"), [("firing", "trigger"), ("recovered", "resolve")])
def test_pagerduty_triggers_and_resolves_one_incident(status: str, action: str) -> None:
    _, document = post(
        "{name: p, type: pagerduty, routing_key: R1, url: 'URL/v2/enqueue'}", message(status=status)
    )
    assert (document["routing_key"], document["event_action"], document["dedup_key"]) == (
        "R1",
        action,
        "group:7",
    )
    if action == "trigger":
        assert set(document["payload"]) >= {"summary", "source", "severity"}
        assert document["payload"]["severity"] in {"critical", "error", "warning", "info"}


def test_opsgenie_creates_and_closes_by_alias() -> None:
    text = "{name: o, type: opsgenie, api_key: K1, url: 'URL'}"
    headers, document = post(text, message())
    assert (headers["path"], headers["Authorization"]) == ("/v2/alerts", "GenieKey K1")
    assert document["alias"] == "group_7"
    assert len(document["message"]) <= 130
    headers, _ = post(text, message(status="recovered"))
    assert headers["path"] == "/v2/alerts/group_7/close?identifierType=alias"


def test_telegram_gets_escaped_html() -> None:
    headers, document = post(
        "{name: t, type: telegram, bot_token: '1:x', chat_id: '7', url: 'URL'}", message(HOSTILE)
    )
    assert headers["path"] == "/bot1:x/sendMessage"
    assert len(document["text"]) <= 4096
    assert tags_in(document["text"]) <= {"b", "pre", "a"}


def test_ntfy_gets_a_topic_and_priority() -> None:
    headers, document = post(f"{{name: n, type: ntfy, topic: errors, token: {TOKEN}, url: 'URL'}}", message())
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert (document["topic"], document["priority"]) == ("errors", 5)


def test_a_webhook_is_signed_as_the_document_says() -> None:
    headers, document = post("{name: w, type: webhook, url: 'URL/in', secret: s3cret}", message())
    assert headers["Idempotency-Key"] == "k1"
    parts = dict(part.split("=", 1) for part in headers["X-Tasks-Pipeline-Signature"].split(","))
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    expected = hmac.new(b"s3cret", f"{parts['t']}.".encode() + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(parts["v1"], expected)
    assert (document["version"], document["id"], document["thread"]) == (1, "alert:1:x", "group:7")


def test_apprise_takes_the_others() -> None:
    with http_receiver() as http:
        whole = config(f"{{name: a, type: apprise, url: 'json://{http.url[7:]}/in'}}")
        with opened(whole) as sender:
            assert "handed it over" in sender.send(message(), address="", idempotency_key="k").detail
            assert http.posted[0].json["title"].startswith("[SHOP-7]")
            http.answer = lambda _posted, _before: (500, {}, b"")
            with pytest.raises(TemporaryFailure, match="500"):
                sender.send(message(), address="", idempotency_key="k")


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, PermanentFailure), (401, PermanentFailure), (302, PermanentFailure), (404, PermanentFailure),
     (408, TemporaryFailure), (429, TemporaryFailure), (500, TemporaryFailure), (503, TemporaryFailure)],
)  # fmt: skip
def test_answers_are_judged(status: int, kind: type[Exception]) -> None:
    with http_receiver() as http:
        http.answer = lambda _posted, _before: (status, {"Retry-After": "7"}, f"no, {TOKEN}".encode())
        whole = config(f"{{name: d, type: discord, url: '{http.url}/{TOKEN}'}}")
        with opened(whole) as sender, pytest.raises(kind) as failure:
            sender.send(message(), address="", idempotency_key="k")
        assert str(status) in str(failure.value)
        if kind is TemporaryFailure:
            assert failure.value.retry_after == 7  # type: ignore[attr-defined]


def test_nobody_listening_is_temporary_and_a_lost_answer_unknown() -> None:
    whole = config(f"{{name: d, type: discord, url: 'http://127.0.0.1:9/{TOKEN}'}}")
    with opened(whole) as sender, pytest.raises(TemporaryFailure) as failure:
        sender.send(message(), address="", idempotency_key="k")
    assert TOKEN not in str(failure.value)
    with http_receiver() as http:
        http.answer = lambda _posted, _before: None
        whole = config(f"{{name: d, type: discord, url: '{http.url}/x'}}")
        with opened(whole) as sender, pytest.raises(UnknownOutcome):
            sender.send(message(), address="", idempotency_key="k")


def test_retry_after_is_seconds_or_a_date() -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert retry_after("30", now) == 30
    assert retry_after(format_datetime(now + timedelta(minutes=2), usegmt=True), now) == 120
    assert retry_after("soon", now) is None
    assert retry_after("-5", now) is None
    assert retry_after("99999999", now) == 6 * 3600


@given(st.text(max_size=60))
def test_any_retry_after_is_none_or_bounded(text: str) -> None:
    found = retry_after(text, datetime(2026, 1, 1, tzinfo=UTC))
    assert found is None or 0 <= found <= 6 * 3600


# ── mail


def mail_channel(
    port: int, more: str = "", host: str = "127.0.0.1", security: str = "none"
) -> tuple[MailChannel, Config]:
    whole = config(
        f"{{name: mail, type: mail, host: {host}, port: {port}, security: {security}, sender: 'Errors <errors@acme.example>'{more}}}"
    )
    channel = whole.channels[0]
    assert isinstance(channel, MailChannel)
    return channel, whole


def test_mails_of_one_group_are_a_thread_and_each_can_be_told_from_others() -> None:
    sender = MailSender(*mail_channel(25))
    first = sender.compose(message(), ["anna@acme.example"], "k1")
    again = sender.compose(message(), ["anna@acme.example"], "k1")
    other = sender.compose(message(), ["anna@acme.example"], "k2")
    assert first["Message-ID"] == again["Message-ID"] != other["Message-ID"]
    assert first["References"] == other["References"]
    assert first["Auto-Submitted"] == "auto-generated"
    assert "List-Unsubscribe" not in first
    assert [part.get_content_type() for part in first.iter_parts()] == ["text/plain", "text/html"]


def test_a_mail_names_where_to_unsubscribe_only_where_somebody_acts_on_it() -> None:
    for where, header in (
        ("lists@acme.example", "<mailto:lists@acme.example?subject=unsubscribe>"),
        ("https://acme.example/mails", "<https://acme.example/mails>"),
    ):
        sender = MailSender(*mail_channel(25, f", unsubscribe: '{where}'"))
        assert sender.compose(message(), ["anna@acme.example"], "k")["List-Unsubscribe"] == header


@given(st.text(max_size=300))
def test_no_text_makes_a_header_or_an_element(text: str) -> None:
    sender = MailSender(*mail_channel(25))
    mail = sender.compose(message(text), ["anna@acme.example"], "k")
    raw = mail.as_bytes().split(b"\r\n\r\n", 1)[0]
    names = [line.split(b":")[0].lower() for line in raw.splitlines() if line[:1] not in (b" ", b"\t")]
    assert b"bcc" not in names
    assert names.count(b"to") == 1
    assert tags_in(render("mail.html", message(text))) <= ALLOWED


ALLOWED = set("html head meta title style body div p h1 table tr td span strong a".split())


def tags_in(html: str) -> set[str]:
    found: set[str] = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.add(tag)
            assert not any(name.startswith("on") for name, _ in attrs)

    Tags().feed(html)
    return found


def test_a_hostile_event_makes_no_element() -> None:
    html = render("mail.html", message(HOSTILE))
    assert tags_in(html) <= ALLOWED
    assert "&lt;img" in html
    assert "\u202e" not in html


def test_an_own_template_replaces_ours_and_a_broken_one_does_not(tmp_path: Any) -> None:
    (tmp_path / "mail.txt").write_text("Hello {{ message.title }}")
    assert render("mail.txt", message("Boom"), tmp_path) == "Hello Boom"
    (tmp_path / "mail.txt").write_text("{{ message.nothing.at.all }}")
    assert "What to do" in render("mail.txt", message("Boom"), tmp_path)


def test_a_mail_server_that_says_no() -> None:
    with mail_server() as smtp:
        sender = MailSender(*mail_channel(smtp.port))
        smtp.refuse = {"gone@acme.example": "550 no such user", "full@acme.example": "452 mailbox full"}
        with pytest.raises(PermanentFailure, match="550 no such user"):
            sender.send(message(), address="gone@acme.example", idempotency_key="k")
        with pytest.raises(TemporaryFailure, match="452 mailbox full"):
            sender.send(message(), address="full@acme.example", idempotency_key="k")
        smtp.answer = "554 looks like spam"
        with pytest.raises(PermanentFailure, match="looks like spam"):
            sender.send(message(), address="anna@acme.example", idempotency_key="k")
        smtp.answer = "250 taken"
        sender.send(message(), address="anna@acme.example", idempotency_key="k")
        sender.send(message(), address="ben@acme.example", idempotency_key="k2")
        assert smtp.recipients == [["anna@acme.example"], ["ben@acme.example"]]
        sender.close()
        with pytest.raises(TemporaryFailure, match="STARTTLS"):
            MailSender(mail_channel(smtp.port)[0].model_copy(update={"security": "starttls"}), config()).send(
                message(), address="anna@acme.example", idempotency_key="k"
            )
    with pytest.raises(TemporaryFailure, match=f"connect 127.0.0.1:{smtp.port}"):
        sender.send(message(), address="anna@acme.example", idempotency_key="k")


def test_an_address_of_a_list_that_is_refused_keeps_the_mail_from_no_other() -> None:
    with mail_server() as smtp:
        sender = MailSender(*mail_channel(smtp.port, ", to: [gone@acme.example, anna@acme.example]"))
        smtp.refuse = {"gone@acme.example": "550 no such user"}
        receipt = sender.send(message(), address="", idempotency_key="k")
        assert smtp.recipients == [["anna@acme.example"]]
        assert "not to gone@acme.example: 550 no such user" in receipt.detail
        smtp.refuse["anna@acme.example"] = "550 nor this one"
        with pytest.raises(PermanentFailure, match="no such user"):
            sender.send(message(), address="", idempotency_key="k")
        sender.close()


def test_a_login_over_starttls_and_what_people_have_to_mend(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def sender(port: int, password: str) -> MailSender:
        return MailSender(
            *mail_channel(port, f", username: errors, password: {password}", "localhost", "starttls")
        )

    with mail_server(certificate, "s3cret") as smtp:
        with pytest.raises(TemporaryFailure, match="STARTTLS: the certificate cannot be trusted"):
            sender(smtp.port, "s3cret").send(message(), address="anna@acme.example", idempotency_key="k")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
        with pytest.raises(TemporaryFailure, match="login: 535") as failure:
            sender(smtp.port, "wr0ng").send(message(), address="anna@acme.example", idempotency_key="k")
        assert "wr0ng" not in failure.value.detail
        good = sender(smtp.port, "s3cret")
        good.send(message(), address="anna@acme.example", idempotency_key="k")
        good.send(message(), address="ben@acme.example", idempotency_key="k2")
        good.close()
        assert smtp.recipients == [["anna@acme.example"], ["ben@acme.example"]]


@pytest.mark.parametrize("address", ["not an address", "a@b\r\nBcc: x@y.example", "@", ""])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with mail_server() as smtp, pytest.raises(PermanentFailure):
        MailSender(*mail_channel(smtp.port)).send(message(), address=address, idempotency_key="k")


def test_every_kind_of_channel_is_configured_by_its_type() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(AnyChannel)
    names = set(adapter.json_schema()["discriminator"]["mapping"])
    assert names == {
        "mail",
        "webhook",
        "slack",
        "teams",
        "discord",
        "pagerduty",
        "opsgenie",
        "telegram",
        "ntfy",
        "apprise",
    }


@given(st.text(max_size=2000), st.integers(1, 300))
def test_clean_texts_are_one_bounded_line_without_what_is_not_seen(text: str, limit: int) -> None:
    found = clean(text, limit)
    assert len(found) <= max(limit, 1)
    assert all(c.isprintable() or not c.isascii() for c in found)
    assert not set(found) & set("\r\n\t\x00\u202e\u200b")
