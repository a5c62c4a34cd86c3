"""Which commits are suspected: the rules, and that they hold for whatever paths there are."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks_pipeline.releases.suspects import (
    MOST_FRAMES,
    ChangedFiles,
    Changes,
    ChangeSet,
    Suspect,
    first_line,
    frame_paths,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
Commit = tuple[ChangeSet, Sequence[str]]


def commit(
    sha: str, *paths: str, days: float | None = 1, message: str = "Change it", files: int | None = None
) -> Commit:
    """A commit so many days old; None: it does not say when."""
    at = None if days is None else NOW - timedelta(days=days)
    return ChangeSet(sha, "shop@1", at, message, len(paths) if files is None else files, (0, 0)), paths


def suspects(stack: Sequence[dict[str, Any] | str], *commits: Commit) -> list[Suspect]:
    """Of a stack whose crash is last; a text is the file of a frame in app."""
    frames = [{"filename": f, "in_app": True} if isinstance(f, str) else f for f in stack]
    changes = Changes(
        {c.sha: c for c, _ in commits}, [(c.sha, path) for c, paths in commits for path in paths]
    )
    return changes.suspects(frame_paths(frames), NOW)


def shas(stack: Sequence[dict[str, Any] | str], *commits: Commit) -> list[str]:
    return [found.sha for found in suspects(stack, *commits)]


def test_the_nearest_frame_weighs_most() -> None:
    far, near = commit("far", "shop/app.py"), commit("near", "shop/cart.py")
    assert suspects(["shop/app.py", "shop/cart.py"], far, near) == [
        Suspect("near", "shop@1", "shop/cart.py", 0, 2),
        Suspect("far", "shop@1", "shop/app.py", 1, 2),
    ]


def test_the_best_score_of_a_frame_counts() -> None:
    assert shas(
        ["/srv/app/shop/cart.py"],
        commit("other", "old/cart.py", "admin/shop/cart.py"),
        commit("right", "app/shop/cart.py"),
    ) == ["right"]
    assert shas(["shop/cart.py"], commit("other", "lib/cart.py")) == []


def test_a_name_alone_counts_only_for_files_without_a_folder() -> None:
    assert shas(["main.py"], commit("a", "main.py"), commit("b", "src/main.py")) == ["a"]
    assert shas(["/srv/main.py"], commit("a", "main.py")) == ["a"]
    assert shas(["main.py"], commit("b", "src/main.py")) == []


@pytest.mark.parametrize(
    ("frame", "path"),
    [
        ({"filename": r"C:\build\Shop\Cart.cs"}, "Shop/Cart.cs"),
        ({"filename": "shop/cart.py"}, r"SHOP\Cart.py"),
        ({"filename": "webpack:///./src/Cart.vue"}, "src/cart.vue"),
        ({"filename": "./src//cart.py"}, "src/cart.py"),
        ({"abs_path": "/srv/app/shop/cart.py"}, "shop/cart.py"),
        ({"filename": "", "abs_path": "/srv/app/shop/cart.py"}, "shop/cart.py"),
        ({"module": "shop.orders.cart"}, "backend/shop/orders/cart.py"),
        ({"module": "com.acme.Cart$Line"}, "src/main/java/com/acme/Cart.java"),
        ({"filename": "Cart.java", "module": "com.acme.Cart"}, "src/main/java/com/acme/Cart.java"),
    ],
)
def test_how_a_frame_names_its_file(frame: dict[str, Any], path: str) -> None:
    assert shas([frame], commit("it", path), commit("other", "somewhere/else.py")) == ["it"]


def test_frames_in_app_are_looked_at_and_all_where_none_is() -> None:
    lib, own = {"filename": "lib/wsgi.py", "in_app": False}, {"filename": "shop/cart.py", "in_app": True}
    both = commit("lib", "lib/wsgi.py"), commit("own", "shop/cart.py")
    assert shas([own, lib], *both) == ["own"]
    assert shas([own | {"in_app": False}, lib], *both) == ["lib", "own"]


def test_so_many_frames_are_looked_at() -> None:
    stack = [f"shop/f{n}.py" for n in range(MOST_FRAMES + 1)]
    assert shas(stack, commit("a", "shop/f0.py")) == []
    assert suspects(stack, commit("a", "shop/f1.py"))[0].frame == MOST_FRAMES - 1


def test_who_is_left_out_and_who_comes_last() -> None:
    path = "shop/cart.py"
    assert shas([path], commit("old", path, days=366), commit("ok", path, days=364)) == ["ok"]
    assert shas([path], commit("huge", path, files=101), commit("large", path, files=100)) == ["large"]
    assert shas(
        [path], commit("merge", path, days=1, message="Merge branch 'x'"), commit("own", path, days=9)
    ) == ["own", "merge"]
    assert shas([path], commit("Merged", path, days=1, message="Merged it"), commit("own", path, days=9)) == [
        "Merged",
        "own",
    ]
    assert shas(
        [path], commit("unknown", path, days=None), commit("b", path, days=9), commit("c", path, days=3)
    ) == ["c", "b", "unknown"]
    assert len(shas([path], *(commit(f"{n}", path) for n in range(9)))) == 3


def test_who_is_left_out_takes_no_place() -> None:
    """A file that only an old commit changed is not the best of a frame."""
    assert shas(
        ["app/shop/cart.py"], commit("old", "app/shop/cart.py", days=400), commit("new", "shop/cart.py")
    ) == ["new"]


def test_one_commit_is_suspected_once() -> None:
    both = commit("both", "shop/cart.py", "shop/app.py")
    assert [(s.sha, s.frame) for s in suspects(["shop/app.py", "shop/cart.py"], both)] == [("both", 0)]


@pytest.mark.parametrize(
    "frame",
    [
        {},
        {"filename": None},
        {"filename": 7},
        {"filename": "/"},
        {"module": "..."},
        {"filename": "<anonymous>"},
    ],
)
def test_a_frame_that_names_nothing(frame: dict[str, Any]) -> None:
    assert suspects([frame], commit("a", "shop/cart.py")) == []


def test_the_first_line_of_a_message() -> None:
    assert first_line("\n  Fix it \r\n\nRefs 1") == "Fix it"
    assert first_line(None) == first_line("\n") == ""


NAMES = st.sampled_from(["a", "B", "cart.py", "Cart.py", "ß.py", "x.js"])
PATHS = st.lists(NAMES, min_size=1, max_size=5).flatmap(
    lambda parts: st.lists(st.sampled_from("/\\"), min_size=len(parts), max_size=len(parts)).map(
        lambda separators: "".join(f"{s}{p}" for s, p in zip(separators, parts, strict=True))[1:]
    )
)


def score(frame: str, path: str) -> int:
    """By the definition: equal parts from the end."""
    ours, theirs = (re.split(r"[/\\]", text.casefold())[::-1] for text in (frame, path))
    equal = 0
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            break
        equal += 1
    return equal if equal != 1 or len(theirs) == 1 else 0


@given(PATHS, st.lists(PATHS, max_size=12, unique=True))
def test_the_files_most_like_a_frame(frame: str, paths: list[str]) -> None:
    (parsed,) = frame_paths([{"filename": frame}])
    assert parsed is not None
    scores = {path: score(frame, path) for path in paths}
    best = max(scores.values(), default=0)
    found, files = ChangedFiles(("sha", path) for path in paths).best(parsed)
    assert found == best
    assert sorted(files) == sorted(path for path in paths if best and scores[path] == best)


@given(
    st.lists(PATHS, max_size=8),
    st.lists(st.tuples(st.integers(0, 9), PATHS, st.integers(0, 800), st.booleans()), max_size=15),
)
def test_suspects_are_few_and_none_twice(stack: list[str], made: list[tuple[int, str, int, bool]]) -> None:
    commits = [
        commit(f"c{n}", path, days=days, message="Merge x" if merge else "x") for n, path, days, merge in made
    ]
    found = suspects(stack, *commits)
    assert len({s.sha for s in found}) == len(found) <= 3
    assert [s.frame for s in found] == sorted(s.frame for s in found)
    for one in found:
        assert one.score == score([*reversed(stack)][one.frame], one.path) > 0
    assert found == suspects(stack, *reversed(commits)) or len({c.sha for c, _ in commits}) < len(commits)


@pytest.mark.parametrize("depth", [2, 200])
def test_fifty_thousand_files_of_one_name_cost_little(depth: int) -> None:
    """However alike they are: their number times that of the frames would be seconds."""
    files = [(f"{n % 2000}", f"{n}/{'a/' * depth}index.js") for n in range(50_000)]
    frames = frame_paths([{"filename": f"{n}/{'a/' * depth}index.js"} for n in range(MOST_FRAMES)])
    began = time.process_time()
    index = ChangedFiles(files)
    found = [index.best(frame)[0] for frame in frames if frame is not None]
    assert found == [depth + 2] * MOST_FRAMES
    assert time.process_time() - began < 3
