"""What a glance at files finds before a commit: space at ends of lines, a last line without an end, files too large to keep for ever."""

import sys
from pathlib import Path

LARGEST = 500_000
LARGE = {"tasks_pipeline/demo/recordings/shop-2000.jsonl.zst"}
"""What the demo is worth."""
AS_RECORDED = ("tasks_pipeline/demo/recordings/", "tests/data/")
"""What was received or generated stays as it is, byte for byte."""


def faults(path: Path) -> list[str]:
    """What is wrong with one file, each with its line where it has one."""
    data = path.read_bytes()
    found = (
        [f"{path}: {len(data):,} bytes, more than {LARGEST:,}"]
        if len(data) > LARGEST and path.as_posix() not in LARGE
        else []
    )
    if b"\0" in data or path.as_posix().startswith(AS_RECORDED):
        return found
    for number, line in enumerate(data.split(b"\n"), 1):
        if line != line.rstrip():
            found.append(f"{path}:{number}: white space at the end of the line")
    if data and (not data.endswith(b"\n") or data.endswith(b"\n\n")):
        found.append(f"{path}: does not end with one newline")
    return found


if __name__ == "__main__":
    found = [fault for name in sys.argv[1:] if Path(name).is_file() for fault in faults(Path(name))]
    sys.stdout.writelines(f"{fault}\n" for fault in found)
    sys.exit(bool(found))
