"""What the message of a report says, and how its mail is kept: both are made once, when the message is put into the outbox. How
a report is rendered, and who gets one, is decided in `reports/`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from tasks_pipeline.notifications.message import GroupLine, Letter, Message
from tasks_pipeline.notifications.subscriptions import token_of
from tasks_pipeline.storage.blobs import BlobStore
from tasks_pipeline.storage.state.facts import unsubscribe_key
from tasks_pipeline.stores import Stores

TYPE = "report"


@dataclass(frozen=True, slots=True)
class ReportContent:
    """A report as its message tells of it: plain data, as the row of the message holds it. Texts are clean and bounded.

    `report` is for programs: what a webhook gets as `data`. `letter` is that of `keep_letter`; None on a channel that is no mail.
    Its link to unsubscribe has a stand-in for the token.
    """

    title: str
    subject: str
    project: str
    changed: str
    facts: tuple[tuple[str, str], ...]
    groups: tuple[Mapping[str, Any], ...]
    links: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]
    notes: tuple[str, ...]
    report: Mapping[str, Any]
    letter: Mapping[str, Any] | None = None

    def data(self) -> dict[str, Any]:
        """For the outbox."""
        return asdict(self)


def report_message(stores: Stores, row: Mapping[str, Any]) -> Message:
    """The message of a report's row in the outbox. Raises BlobMissing when its mail is not kept any more."""
    content = ReportContent(**row["data"])
    return Message(
        key=row["key"],
        thread=row["thread"],
        type=TYPE,
        status=TYPE,
        severity="info",
        subject=content.subject,
        title=content.title,
        project=content.project,
        changed=content.changed,
        facts=_pairs(content.facts),
        groups=tuple(GroupLine(**group) for group in content.groups),
        links=_pairs(content.links),
        commands=tuple(content.commands),
        notes=tuple(content.notes),
        data=content.report,
        letter=None if content.letter is None else _letter(stores, content, row["target"]),
    )


def keep_letter(blobs: BlobStore, letter: Letter) -> dict[str, Any]:
    """Store what a mail is made of, durably; gives what finds it again. What mails of several members share is stored once."""
    return {
        "html": blobs.put(letter.html.encode()),
        "text": blobs.put(letter.text.encode()),
        "made_at": letter.made_at.isoformat(),
        "pictures": [[cid, name, blobs.put(png)] for cid, name, png in letter.pictures],
        "files": [[name, blobs.put(content)] for name, content in letter.files],
        "unsubscribe": letter.unsubscribe,
    }


def kept_letter(blobs: BlobStore, kept: Mapping[str, Any]) -> Letter:
    """The mail that `keep_letter` stored. Raises BlobMissing."""
    return Letter(
        html=blobs.get(kept["html"]).decode(),
        text=blobs.get(kept["text"]).decode(),
        made_at=datetime.fromisoformat(kept["made_at"]),
        pictures=tuple((cid, name, blobs.get(digest)) for cid, name, digest in kept["pictures"]),
        files=tuple((name, blobs.get(digest)) for name, digest in kept["files"]),
        unsubscribe=kept["unsubscribe"],
    )


def _letter(stores: Stores, content: ReportContent, target: str) -> Letter:
    """The mail for its reader. Its link is made here and kept nowhere: whoever reads what is stored could unsubscribe others."""
    letter = kept_letter(stores.blobs, content.letter or {})
    if not letter.unsubscribe:
        return letter
    standing = letter.unsubscribe.rpartition("/")[2]
    token = token_of(unsubscribe_key(stores.state), target.removeprefix("member:"), content.report["kind"])
    return replace(
        letter,
        html=letter.html.replace(standing, token),
        text=letter.text.replace(standing, token),
        unsubscribe=letter.unsubscribe.replace(standing, token),
    )


def _pairs(found: Any) -> tuple[tuple[str, str], ...]:
    """JSON has no pairs."""
    return tuple((str(name), str(value)) for name, value in found)
