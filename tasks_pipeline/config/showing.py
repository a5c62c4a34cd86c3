"""The configuration in force as plain data that may be shown: secrets as the file refers to them, or masked."""

from __future__ import annotations

from typing import Any

from tasks_pipeline.config.document import Config
from tasks_pipeline.config.kinds import Kind, below, kinds_of, of_tag
from tasks_pipeline.config.model import About
from tasks_pipeline.config.written import Written, read_yaml

MASK = "**********"


def shown_config(config: Config, text: str = "") -> Any:
    """The configuration with every default, in the form of its file; `text` is the file it was read from, if any."""
    # The values of the environment are not needed, only where they went.
    root = read_yaml(text, _AnyName()).root if text else None
    data = config.model_dump(mode="json", by_alias=True)
    for member, shown in zip(config.members, data["members"], strict=True):
        # What these leave out is as in the member's own preferences: a default would change the meaning.
        shown["projects"] = {
            slug: wanted.model_dump(mode="json", by_alias=True, exclude_unset=True)
            for slug, wanted in member.projects.items()
        }
    return _shown(data, root, kinds_of(Config))


class _AnyName(dict[str, str]):
    """An environment in which every name is set."""

    def get(self, key: str, default: Any = None) -> Any:
        return MASK


def _shown(value: Any, written: Written | None, kinds: tuple[Kind, ...]) -> Any:
    if written is not None and written.secret and written.fields is None and written.entries is None:
        return written.text
    if isinstance(value, dict):
        fields = (written.fields if written is not None else None) or {}
        meant = of_tag(kinds, value)
        return {
            name: _shown(each, fields[name][1] if name in fields else None, below(meant, name))
            for name, each in value.items()
        }
    if isinstance(value, list):
        entries = (written.entries if written is not None else None) or []
        return [
            _shown(each, entries[number] if number < len(entries) else None, below(kinds, number))
            for number, each in enumerate(value)
        ]
    if isinstance(value, str) and any(_masked(kind) for kind in kinds):
        return _host_alone(value)
    return value


def _masked(kind: Kind) -> bool:
    return any(isinstance(note, About) and note.masked for note in kind.notes)


def _host_alone(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, _ = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{MASK if slash else ''}"
