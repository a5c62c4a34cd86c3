"""Background work: each key once, failures told once, and a queue that cannot fill up for good."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tasks_pipeline.uploads import jobs as module
from tasks_pipeline.uploads.facts import UploadError
from tasks_pipeline.uploads.jobs import Jobs


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    jobs = Jobs()
    yield jobs
    jobs.close()


def fail(error: Exception) -> None:
    raise error


def test_work_under_a_key_goes_on_once(jobs: Jobs) -> None:
    go, done = threading.Event(), []

    def work() -> None:
        go.wait(120)
        done.append(1)

    assert not jobs.running("a")
    assert jobs.start("a", work)
    assert jobs.start("a", work)
    assert jobs.running("a")
    jobs.wait(["a"], 0)
    assert jobs.running("a")
    go.set()
    jobs.wait(["a", "unknown"], 30)
    assert not jobs.running("a")
    assert done == [1]


def test_a_failure_is_told_once(jobs: Jobs) -> None:
    for error, told in ((UploadError("bad"), "bad"), (ZeroDivisionError(), "internal error")):
        jobs.start("a", lambda error=error: fail(error))
        jobs.wait(["a"], 30)
        with pytest.raises(UploadError, match=told):
            jobs.running("a")
        assert not jobs.running("a")


def test_failures_that_nobody_asks_about_do_not_fill_the_queue(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    for key in range(10):
        assert jobs.start(key, lambda: fail(UploadError("bad")))
        jobs.wait([key], 30)


def test_more_than_can_wait_is_put_off(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    go = threading.Event()
    started = [jobs.start(key, lambda: go.wait(120) and None) for key in range(3)]
    go.set()
    assert started == [True, True, False]
    jobs.wait([0, 1], 30)
    assert jobs.start(2, lambda: None)
