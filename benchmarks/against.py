"""This checkout against an older commit, in turn and on the same machine: `python -m benchmarks against REV` prints ratios.

The older commit is checked out beside, with the benchmarks of this one, and both are measured alternately, since a
machine's own speed moves by half from one minute to the next. Ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks_pipeline.demo.show import temporary_root

HERE = Path(__file__).parents[1]
FIGURES = {
    "drain": ("drain_cpu_ms_per_event", "drain_cpu_over_floor", "floor_cpu_ms_per_event"),
    "throughput": (
        "end_to_end_events_per_s",
        "cpu_ms_per_event",
        "cpu_over_floor",
        "floor_cpu_ms_per_event",
    ),
}


@contextmanager
def checkout(revision: str, folder: Path) -> Iterator[Path]:
    """The tree of a commit with the benchmarks of this one; removed at the end."""
    tree = folder / "former"
    git = ["git", "-C", str(HERE), "worktree"]
    subprocess.run([*git, "add", "--detach", str(tree), revision], check=True, capture_output=True)
    try:
        for part in ("benchmarks", "tests/support"):  # and the servers that they start
            shutil.rmtree(tree / part)
            shutil.copytree(HERE / part, tree / part)
        yield tree
    finally:
        subprocess.run([*git, "remove", "--force", str(tree)], check=True, capture_output=True)


def measured(tree: Path, benchmark: str, rest: list[str]) -> dict[str, Any]:
    """What a benchmark prints in a tree. Its processes import what lies there, not what is installed."""
    result: dict[str, Any] = json.loads(
        subprocess.run(
            [sys.executable, "-m", f"benchmarks.{benchmark}", *rest],
            cwd=tree,
            env=os.environ | {"PYTHONPATH": str(tree)},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
    )
    return result


def compare(former: Path, benchmark: str, rounds: int, rest: list[str]) -> dict[str, Any]:
    """Medians of the figures of both, and what this checkout's are to the former's."""
    found: dict[str, list[dict[str, Any]]] = {"former": [], "here": []}
    for number in range(rounds):
        for name, tree in (("former", former), ("here", HERE)):
            found[name].append(measured(tree, benchmark, rest))
            print(f"round {number + 1}, {name}: {found[name][-1]}", file=sys.stderr, flush=True)
    medians = {
        name: {figure: statistics.median(one[figure] for one in all_of) for figure in FIGURES[benchmark]}
        for name, all_of in found.items()
    }
    ratios = {
        figure: round(medians["here"][figure] / medians["former"][figure], 3) for figure in FIGURES[benchmark]
    }
    return medians | {"ratio": ratios, "load": os.getloadavg()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks against", description=__doc__)
    parser.add_argument("revision", help="a commit of this repository")
    parser.add_argument("--benchmark", choices=sorted(FIGURES), default="throughput")
    parser.add_argument("--rounds", type=int, default=3)
    arguments, rest = parser.parse_known_args()
    with temporary_root() as root:
        root.mkdir(parents=True, exist_ok=True)
        with checkout(arguments.revision, root) as former:
            result = compare(former, arguments.benchmark, arguments.rounds, rest)
    print(json.dumps({"revision": arguments.revision} | result))


if __name__ == "__main__":
    main()
