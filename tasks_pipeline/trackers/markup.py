"""Markup: texts of strangers made harmless for the way a tracker writes its texts. Nobody is mentioned, nothing is referred to, nothing is
drawn or run: what was written is shown as it was written.

Wherever it does, a zero-width space (U+200B) behind the character that begins something takes its meaning away and is not seen; such
spaces, and all else that is hidden, are taken out of the text before. Where that is not enough, a backslash does it. Made twice, it
changes nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tasks_pipeline.texts import clean

ZERO_WIDTH = "\u200b"
MOST = 1_048_576
"""Characters of the longest text that any of the trackers takes."""

_SCHEME = r"(?<![^\W_])(?i:(?:https?|ftp)://|www\.)"
_PLAIN_ADDRESS = re.compile(
    r"https?://[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::\d{1,5})?(?:/[A-Za-z0-9._/%=?+,-]*)?", re.ASCII
)
_OF_ISSUES = re.compile(
    r"/(?:issues?|pulls?|discussions|commits?|merge_requests|work_items|epics|milestones|snippets|browse|compare)(?:/|\?|$)",
    re.I,
)
"""Parts of addresses that trackers turn into references, with a line in the timeline of what they refer to."""

# ── what to look for: a name, and an expression. The name says what becomes of it

_BEHIND = "behind"  # a zero-width space behind it
_BEFORE = "before"  # … before what follows (the expression matches nothing but spaces)
_RULES: dict[str, str] = {
    "own": r"(?P<behind_own>tasks-pipeline)(?=:)",
    "mention": r"(?P<behind_mention>[@#])(?=\S)",
    "key": r"(?P<behind_key>(?<![A-Za-z0-9_])(?:(?i:GH|GL)|[A-Z][A-Z0-9_]+)-)(?=\d+(?![A-Za-z0-9]))",
    "sha": r"(?P<sha>(?<![A-Za-z0-9_])[0-9a-fA-F]{7,64}(?![A-Za-z0-9_]))",
    "command": r"(?m:^)(?P<before_command>[ \t]*)(?=/\w)",
    "heading": r"(?m:^)(?P<before_heading>[ \t]*)(?=#|(?:=+|-{2,}|_{3,}|\*{3,})[ \t]*$)",
    "image": r"(?P<behind_image>!)(?=[\[\w`\\])",
    "link": r"(?P<behind_link>\])(?=[(\[:])",
    "html": r"(?P<behind_html><)(?=[A-Za-z/!?`\\])",
    "entity": r"(?P<behind_entity>&)(?=[#\w`\\])",
    "tilde": r"(?P<behind_tilde>~)(?=[~\w\"`\\])",
    # ── Markdown: code spans. Those of strangers are none; addresses that are more than plain become some
    "slashes": rf"(?P<behind_slashes>(?<!\\)\\++)(?={_SCHEME}|`{_SCHEME}[^\s`<>]+`)",
    "code": rf"(?P<code>`{_SCHEME}[^\s`<>]+`)",
    "address": rf"(?P<address>{_SCHEME}[^\s`<>]*[^\s`<>.,;:!?)'\"\]])",
    "tick": r"(?P<escaped_tick>(?<!\\)\\*+`)",
    # ── GitLab
    "gitlab": r"(?P<behind_gitlab>[%$^](?=[\w\"`\\])|\*(?=iteration:)|\[(?=\\*`?\w+:))",
    # ── Redmine, whose texts are Textile or Markdown: nobody tells which
    "ticks": r"(?P<behind_ticks>`)(?=`)",
    "redmine": r"(?P<behind_redmine>!(?=\S)|\[(?=\[)|\{(?=\{)|\"(?=:[A-Za-z/#.])|(?<![A-Za-z0-9_])r(?=\d+(?!\w))"
    r"|(?i:commit|source|export|attachment|document|version|message|forum|news|project|user):(?=\S))",
    "textile": r"(?m:^)(?P<before_textile>[ \t]*)(?=(?:h[1-6]|bq|bc|pre|notextile|fn\d+|p|clear)\S{0,100}?\.{1,2}[ \t:])",
    # ── Roundup: names of its classes with a number
    "roundup": r"(?P<behind_roundup>(?<!\w)(?i:issue|msg|file|user|keyword|query|bug|task|milestone|support|patch|change))(?=\s*\d+)",
    # ── Jira's wiki
    "wiki": r"(?P<escaped_wiki>(?<!\\)\\*+(?:[\[\]{}|*!]|(?<![^\W_])[_+^~-](?=\S)|(?<=\S)[_+^~-](?![^\W_])|\?(?=\?)|(?<=\?)\?))",
    "wikiline": r"(?m:^)(?P<before_wikiline>[ \t]*)(?=(?:h[1-6]|bq)\.|#|/\w)",
}
_PLAIN = ("own", "mention", "key", "sha")
_MARKDOWN = (
    "slashes",
    "code",
    "address",
    "tick",
    "command",
    "heading",
    "own",
    "mention",
    "key",
    "sha",
    "image",
    "link",
    "html",
    "entity",
    "tilde",
)
_USED: dict[str, tuple[str, ...]] = {
    "github": _MARKDOWN,
    "gitlab": (*_MARKDOWN, "gitlab"),
    "redmine": (
        *("command", "heading", "textile", "own", "mention", "key", "sha", "link", "html", "entity", "tilde"),
        *("ticks", "redmine"),
    ),
    "roundup": (*_PLAIN, "roundup"),
    "jira_cloud": ("own", "key"),  # its texts are trees: what stands in one is text
    "jira_dc": ("own", "key", "wikiline", "wiki"),
}


def _expression(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(_RULES[name] for name in names))


_TEXTS = {markup: _expression(names) for markup, names in _USED.items()}
_TITLE = _expression((*_PLAIN, "command"))


def neutral(text: str, markup: str, limit: int = MOST) -> str:
    """A text that may be put into an issue or comment, `limit` characters long at most. `markup`: `Provider.markup`."""
    return _made(_visible(text, limit, lines=True), _TEXTS[markup], limit)


def neutral_title(text: str, markup: str, limit: int = 255) -> str:
    """The same for a title, which is one line without mark-up."""
    return _made(_visible(text, limit, lines=False), _TITLE, limit)


def _visible(text: str, limit: int, *, lines: bool) -> str:
    text = text[: limit * 4 + 1000]
    return clean(text.replace("\r\n", "\n").replace("\r", "\n"), max(len(text), 1), lines=lines)


def _made(text: str, expression: re.Pattern[str], limit: int) -> str:
    """The text with what was found replaced. One that is too long is cut before that: a cut behind could halve what was made, or
    bring about what was none before."""
    made = expression.sub(_replaced, text)
    length = min(len(text), limit)
    while len(made) > limit and length > 0:
        shorter = expression.sub(_replaced, f"{text[:length].rstrip()}…")
        length = min(length - 1, length * limit // len(shorter))
        made = shorter
    return made if len(made) <= limit else "…"[:limit]


def _replaced(found: re.Match[str]) -> str:
    name = found.lastgroup or ""
    text = found[0]
    kind = name.partition("_")[0]
    return _MADE.get(kind, _as_it_is)(text, found)


def _as_it_is(text: str, _found: re.Match[str]) -> str:
    return text


def _with_space(text: str, _found: re.Match[str]) -> str:
    return f"{text}{ZERO_WIDTH}"


def _sha(text: str, _found: re.Match[str]) -> str:
    """In parts that are too short to be taken for a commit. Words and numbers are left alone."""
    if len(text) < 40 and (text.isdecimal() or text.isalpha()):
        return text
    return ZERO_WIDTH.join(text[at : at + 6] for at in range(0, len(text), 6))


def _address(text: str, found: re.Match[str]) -> str:
    before = found.string[found.start() - 1 : found.start()]
    behind = found.string[found.end() : found.end() + 1]
    if (
        before in ("", " ", "\n", "\t", "(")
        and behind != "`"  # which gets a backslash: part of the address, for whoever looks again
        and _PLAIN_ADDRESS.fullmatch(text)
        and not _OF_ISSUES.search(text)
    ):
        return _in_code(text, found)
    return f"`{_in_code(text, found)}`"


def _in_code(text: str, _found: re.Match[str]) -> str:
    return text.replace("tasks-pipeline:", f"tasks-pipeline{ZERO_WIDTH}:")


def _escaped(text: str, _found: re.Match[str]) -> str:
    """With an odd number of backslashes before it."""
    slashes = len(text) - len(text.lstrip("\\"))
    return text if slashes % 2 else f"{text[:slashes]}\\{text[slashes:]}"


_MADE: dict[str, Callable[[str, re.Match[str]], str]] = {
    _BEHIND: _with_space,
    _BEFORE: _with_space,
    "sha": _sha,
    "address": _address,
    "code": _in_code,
    "escaped": _escaped,
}
