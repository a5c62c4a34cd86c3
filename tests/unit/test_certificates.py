"""Certificates of deletions: found from every host, wherever they were written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks_pipeline.erasure.certificate import (
    HASH,
    certificates,
    digest_of,
    read_certificate,
    write_certificate,
)
from tasks_pipeline.home import Home


def made(number: int) -> dict[str, object]:
    told: dict[str, object] = {"id": f"id-{number}", "done_at": f"2026-11-0{number}T00:00:00+00:00"}
    return told | {HASH: digest_of(told)}


def test_all_hosts_find_them_and_earlier_ones_stay_where_they_are(tmp_path: Path) -> None:
    alone = Home(root=tmp_path / "a")
    alone.make_root()
    assert certificates(alone) == []
    assert write_certificate(alone, made(1)) == str(tmp_path / "a" / "certificates" / "id-1.json")
    data = str(tmp_path / "data")
    here, there = (Home(root=tmp_path / name, data_url=data) for name in "ab")
    assert write_certificate(here, made(2)) == f"{data}/certificates/id-2.json"
    assert [(each["id"], each["valid"]) for each in certificates(here)] == [("id-2", True), ("id-1", True)]
    assert [each["id"] for each in certificates(there)] == ["id-2"]
    assert read_certificate(here, "id-1")[0]["id"] == "id-1"
    path = tmp_path / "data" / "certificates" / "id-2.json"
    path.write_text(json.dumps(made(2) | {"id": "id-3"}))
    assert [each["valid"] for each in certificates(there)] == [False]
    with pytest.raises(FileNotFoundError):
        read_certificate(there, "id-1")
