"""The report dialog: a script that asks the person at a broken page what happened and posts it back."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import msgspec

_TEXTS = {
    "title": "It looks like we're having issues.",
    "subtitle": "Our team has been notified.",
    "subtitle2": "If you'd like to help, tell us what happened below.",
    "labelName": "Name",
    "labelEmail": "Email",
    "labelComments": "What happened?",
    "labelClose": "Close",
    "labelSubmit": "Submit crash report",
    "errorGeneric": "Your report could not be sent. Please try again.",
    "successMessage": "Your report was sent. Thank you!",
}
_MAX_TEXT = 500
_SCRIPT = files(__package__).joinpath("dialog.js").read_text(encoding="utf-8")
_ESCAPES = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


def dialog_script(query: Mapping[str, str]) -> bytes:
    """The script for a request's query: texts and the person's name and email, as a JSON literal in it.

    The literal is escaped for JavaScript and HTML, and the script puts its strings into the page as text only.
    """
    values = {name: query.get(name, text)[:_MAX_TEXT] for name, text in _TEXTS.items()}
    values |= {name: query.get(name, "")[:_MAX_TEXT] for name in ("name", "email")}
    literal = msgspec.json.encode(values).decode().translate(_ESCAPES)
    return _SCRIPT.replace("__SETTINGS__", literal).encode()
