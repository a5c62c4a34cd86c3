"""What may become of a configuration file."""

from __future__ import annotations

import os

from tasks_pipeline.home import Home

GOOD = "projects: [{id: 1, slug: shop, keys: [{public_key: abcdef}]}]"


def repaired(home: Home, text: str) -> None:
    """The configuration file holds this text, whatever stood in its place."""
    path = home.config_path
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_text(text)


def damaged(home: Home, how: str) -> None:
    """The configuration file becomes one that cannot be used."""
    path = home.config_path
    if how == "unknown field":
        path.write_text(GOOD.replace("slug", "slgu"))
    elif how == "unknown field of a channel":
        path.write_text(GOOD + "\nchannels: [{type: ntfy, name: a, topic: b, rate: {x: 1}}]")
    elif how == "no variable":
        path.write_text(GOOD.replace("abcdef", "'${env:MISSING_HERE}'"))
    elif how == "deep":
        path.write_text("[" * 5000)
    elif how == "NUL":
        path.write_bytes(b"\0" * 100)
    elif how == "latin-1":
        path.write_bytes(b"\xe9")
    elif how == "truncated":
        path.write_text(GOOD[:-10])
    elif how == "empty":
        path.write_text("")
    else:
        path.unlink(missing_ok=True)
        if how == "folder":
            path.mkdir()
        elif how == "loop":
            path.symlink_to(path)
        elif how == "leads nowhere":
            path.symlink_to(path.with_name("nowhere"))
        elif how == "pipe":
            os.mkfifo(path)
        elif how != "gone":
            raise ValueError(how)


DAMAGES = (
    "unknown field", "unknown field of a channel", "no variable", "deep", "NUL", "latin-1", "truncated", "empty",
    "folder", "loop", "leads nowhere", "pipe",
)  # fmt: skip
