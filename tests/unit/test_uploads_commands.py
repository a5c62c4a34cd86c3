"""`tasks-pipeline token` and `debug-files`: what they print, and what they refuse."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tasks_pipeline.cli import main
from tasks_pipeline.home import Home
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.uploads.facts import Bundle, BundleFile, DebugObject
from tasks_pipeline.uploads.known import add_bundle, add_debug_file


def call(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--home", str(home), *arguments])


def test_a_token_is_printed_alone_and_once(tmp_path: Path) -> None:
    made = call(tmp_path, "token", "create", "--name", "ci", "--url", "https://errors.example.com/")
    assert made.exit_code == 0
    assert made.stdout.count("\n") == 1
    payload = json.loads(base64.b64decode(made.stdout.split("_")[1]))
    assert (payload["url"], payload["org"]) == ("https://errors.example.com", "acme")
    assert made.stdout.strip() not in made.stderr
    (row,) = json.loads(call(tmp_path, "token", "list", "--json").stdout)
    assert (row["name"], row["hint"]) == ("ci", made.stdout.strip()[-4:])
    reads = ["event:read", "member:read", "org:read", "project:read", "team:read"]
    assert row["scopes"] == sorted([*reads, "project:releases"]), "reads and uploads; decides about nothing"
    shown = call(tmp_path, "token", "list").stdout
    assert "ci" in shown
    assert made.stdout.strip() not in shown


def test_the_url_is_that_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "tasks_pipeline.yaml").write_text(
        "organisation: {slug: example}\nprojects: [{id: 1, slug: shop, keys: [{public_key: abcd}]}]\n"
        "receiver: {public_url: 'https://in.example.com'}\n"
    )
    made = call(tmp_path, "token", "create", "--scope", "project:read")
    payload = json.loads(base64.b64decode(made.stdout.split("_")[1]))
    assert (payload["url"], payload["org"]) == ("https://in.example.com", "example")


def test_revoking(tmp_path: Path) -> None:
    call(tmp_path, "token", "create", "--url", "http://x")
    assert call(tmp_path, "token", "revoke", "1").stdout == "token 1 is revoked\n"
    (row,) = json.loads(call(tmp_path, "token", "list", "--json").stdout)
    again = call(tmp_path, "token", "revoke", "1")
    assert again.exit_code == 0
    assert json.loads(call(tmp_path, "token", "list", "--json").stdout) == [row]
    unknown = call(tmp_path, "token", "revoke", "2")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "there is no token 2" in unknown.stderr


@pytest.mark.parametrize("url", ["errors.example.com", "ftp://x", "http://", "http://a b", "http://a\x1b[2J"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    refused = call(tmp_path, "token", "create", "--url", url)
    assert refused.exit_code == 2
    assert "allowed is http(s)://" in refused.stderr
    assert "\x1b" not in refused.stderr


def test_an_empty_list_says_so(tmp_path: Path) -> None:
    assert call(tmp_path, "token", "list").stderr == "no tokens\n"
    assert call(tmp_path, "debug-files", "list").stderr == "nothing was uploaded\n"
    assert json.loads(call(tmp_path, "debug-files", "list", "--json").stdout) == {
        "debug_files": [],
        "artifact_bundles": [],
    }


def test_what_was_uploaded(tmp_path: Path) -> None:
    state = StateDatabase(Home(tmp_path))
    found = DebugObject(
        "30a2a0e9-1749-25d3-06c0-d4244f61b852", None, "elf", "dbg", "x86_64", ("debug", "symtab")
    )
    file = {"sha1": "1" * 40, "digest": "2" * 64, "size": 4711}
    add_debug_file(state, 1, **file, name="crash\x1b[2Jer", objects=[found])
    bundle = Bundle(None, None, (BundleFile("a", "source", "~/a", None, None),))
    add_bundle(state, [1], **file, release="1.0", dist="d1", bundle=bundle)
    state.close()
    shown = call(tmp_path, "debug-files", "list", "--project", "SHOP").stdout
    assert "\x1b" not in shown
    for text in ("elf", found.debug_id, "x86_64 dbg: debug symtab", "4711", "1.0", "1 file, dist d1"):
        assert text in shown
    listed = json.loads(call(tmp_path, "debug-files", "list", "--json").stdout)
    assert listed["debug_files"][0]["project"] == "shop"
    assert listed["artifact_bundles"][0]["release"] == "1.0"
    assert call(tmp_path, "debug-files", "list", "--project", "nope").exit_code == 1
