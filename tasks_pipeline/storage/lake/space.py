"""The space of an embedded catalog: free pages given back, under the lock of the lake.

In a process of its own, `python -m tasks_pipeline.storage.lake.space`: two SQLite libraries in one process take each other's locks
away, and DuckDB brings one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial

from tasks_pipeline.home import Home
from tasks_pipeline.storage.sqlite_space import Space, give_space_back
from tasks_pipeline.storage.state.locks import process_lock


def give_catalog_back(home: Home) -> Space:
    """Have the catalog take no more disk than it needs. Raises OSError with what the process said."""
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        env={**os.environ, **home.environment()},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise OSError(f"the catalog's space was not given back: {done.stderr.strip()[-500:]}")
    return Space(**json.loads(done.stdout))


if __name__ == "__main__":
    of = Home.resolve(create=False)
    space = give_space_back(of.lake_catalog, partial(process_lock, of, "lake"))
    sys.stdout.write(json.dumps({"before": space.before, "after": space.after}))
