"""Logging in as people do: from an invitation to the pages, one's account, and out again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks_pipeline.access import passwords
from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.web.app import create_web
from tests.browser.conftest import Looks
from tests.browser.test_pages import AXE
from tests.support.receiver import serving

pytestmark = pytest.mark.browser

ANNA, PASSWORD = "anna@acme.example", "correct horse battery staple"


@pytest.fixture
def invited(chromium: Any, tmp_path: Path, new_home: Callable[[Path], Home]) -> Iterator[tuple[Looks, str]]:
    """A window on a service with logins, and the path of an invitation."""
    home = new_home(tmp_path)
    home.config_path.write_text(
        "projects: [{id: 1, slug: shop, keys: [{public_key: abcd}]}]\n"
        f"members: [{{email: {ANNA}, name: Anna, role: admin}}]\nweb: {{login: password}}\n"
    )
    with closing(StateDatabase(home)) as state:
        link = passwords.invite(state, ANNA, datetime.now(UTC))
    with serving(create_web(home)) as url:
        context = chromium.new_context(viewport={"width": 1280, "height": 900})
        yield Looks(context, url), f"/invitations/{link}/"
        context.close()


def faultless(page: Any) -> None:
    """No fault that axe knows, wide and narrow, and nothing to scroll sideways."""
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        found = page.evaluate(AXE + "; axe.run(document)")
        assert [each["id"] for each in found["violations"]] == [], page.url
        assert page.evaluate("document.documentElement.scrollWidth") <= width, page.url


def test_a_person_comes_by_an_invitation_and_leaves(invited: tuple[Looks, str]) -> None:
    window, link = invited
    page = window.go(link)
    faultless(page)
    page.fill("[name=password]", PASSWORD)
    page.fill("[name=again]", PASSWORD)
    page.click("text=Set the password")
    assert page.url == f"{window.address}/groups/"
    page.click(f"text={ANNA}")
    page.fill("[name=name]", "editor")
    page.click("text=Make a token")
    assert page.inner_text("[role=status] code").startswith("sntryu_")
    faultless(page)
    page.click("text=Log out >> nth=0")
    assert page.url == f"{window.address}/login/"
    faultless(page)
    window.go("/groups/?query=is%3Aresolved")
    page.fill("[name=email]", ANNA)
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.wait_for_url("**/groups/?query=is%3Aresolved")
    assert window.wrong == []
