"""`docs/api.md` names what the Web API answers."""

from __future__ import annotations

import re
from pathlib import Path

from tasks_pipeline.web_api.endpoints import ENDPOINTS

DOCS = Path(__file__).parents[2] / "docs"


def test_every_endpoint_is_documented() -> None:
    """By the last words of its path, here or where uploads and releases are described."""
    text = "".join(
        (DOCS / f"{name}.md").read_text(encoding="utf-8") for name in ("api", "uploads", "releases")
    )
    lacking = {
        each.path
        for each in ENDPOINTS
        if (words := re.findall(r"[a-z_][a-z0-9_-]+(?=/)", re.sub(r"{\w+}", "", each.path)))
        and words[-1] not in text
    }
    assert not lacking


def test_every_scope_is_documented() -> None:
    text = (DOCS / "access.md").read_text(encoding="utf-8")
    assert {each.scope for each in ENDPOINTS if each.scope and f"`{each.scope}`" not in text} == set()
