"""Every form that changes something carries the token of its session; without it the door refuses it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tasks_pipeline.pages import view

TEMPLATES = sorted((Path(view.__file__).parent / "templates").glob("*.html"))
FORM = re.compile(r'<form[^>]*method="post".*?</form>', re.DOTALL | re.IGNORECASE)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_each_form_has_the_token_of_its_session(template: Path) -> None:
    """But for that of the login, before which there is none."""
    forms = FORM.findall(template.read_text(encoding="utf-8"))
    assert [form for form in forms if "parts.csrf()" not in form] == (
        forms if template.name == "login.html" else []
    )
