"""From the mail in a mailbox by its link to the line of code, and from the page to Dagster."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from click.testing import CliRunner

from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.processing.drain import drain
from tasks_pipeline.stores import open_stores
from tasks_pipeline.web.app import create_web
from tests.support.events import receipt
from tests.support.outside import mail_server
from tests.support.pages_home import RICH, rich_event
from tests.support.receiver import serving


def test_the_link_in_a_mail_leads_to_the_line_of_code(
    tmp_path: Path, new_home: Callable[[Path], Home]
) -> None:
    home, at = new_home(tmp_path), datetime.now(UTC) - timedelta(minutes=1)
    home.config_path.write_text("projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]\n")
    with serving(create_web(home)) as url, mail_server() as smtp:
        home.config_path.write_text(
            f"projects: [{{id: 1, slug: shop, keys: [{{public_key: abcdef}}]}}]\nweb: {{public_url: '{url}'}}\n"
            "notifications: {ui_url: 'http://dagster.acme.example'}\nmembers: [{email: anna@acme.example}]\n"
            f"channels: [{{name: mail, type: mail, host: 127.0.0.1, port: {smtp.port}, security: none, sender: errors@acme.example}}]\n"
            "alert_rules: [{name: new, when: [new_group], notify: [members]}]\n"
        )
        with open_stores(home) as stores:
            with closing(stores.spool.writer()) as writer:
                writer.append([receipt(at, 1, rich_event(at, 1, event_id=RICH))])
            drain(stores, at.date(), linger_seconds=0)
        assert CliRunner().invoke(main, ["--home", str(home.root), "notifications", "send"]).exit_code == 0
        (mail,) = smtp.mails
        body = mail.get_body(("html",))
        assert body is not None
        (link,) = re.findall(r'<a href="([^"]+)">Open SHOP-1</a>', body.get_content())
        plain = mail.get_body(("plain",))
        assert plain is not None
        assert f"Open SHOP-1: {html.unescape(link)}" in plain.get_content()
        page = httpx.get(html.unescape(link))
        assert (page.status_code, str(page.url)) == (200, f"{url}/groups/SHOP-1/events/{RICH}/")
        assert "return int(&#39;abc-%s&#39; % ref)" in page.text
        assert (
            f'href="http://dagster.acme.example/assets/events?view=partitions&amp;partition={at.date()}'
            in page.text
        )
        shown = CliRunner().invoke(main, ["--home", str(home.root), "groups", "show", "SHOP-1"])
        assert f"{url}/groups/SHOP-1/" in shown.output
