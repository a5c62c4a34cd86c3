"""Tags of an issue as clients know them: which there are, and the values of one."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from tasks_pipeline.reading.events import EventQuery
from tasks_pipeline.reading.tags import Tag, tags_of
from tasks_pipeline.web_api.calls import ApiError, Call, answer
from tasks_pipeline.web_api.filters import asking, period_of
from tasks_pipeline.web_api.issue_named import named_group
from tasks_pipeline.web_api.paging import sliced_page

TOP = 10
"""Values that come with a tag."""


def list_tags(call: Call) -> Response:
    """Tags of an issue's newest events, each with its most frequent values."""
    return answer([tag_json(each) for each in _tags(call)])


def show_tag(call: Call) -> Response:
    """One tag."""
    return answer(tag_json(_tag(call)))


def list_values(call: Call) -> Response:
    """The values of a tag, the most frequent first."""
    return sliced_page(call, _values(_tag(call)))


def tag_name(key: str) -> str:
    """What people call a tag."""
    return key.replace("_", " ").replace(".", " ").title()


def tag_json(tag: Tag) -> dict[str, Any]:
    """A tag with its most frequent values."""
    return {
        "key": tag.key,
        "name": tag_name(tag.key),
        "totalValues": tag.total,
        "uniqueValues": tag.unique,
        "topValues": _values(tag)[:TOP],
    }


def _values(tag: Tag) -> list[dict[str, Any]]:
    return [
        {
            "key": tag.key,
            "name": each.value,
            "value": each.value,
            "count": each.count,
            "firstSeen": each.first_seen,
            "lastSeen": each.last_seen,
            "query": f'{tag.key}:"{each.value}"',
        }
        for each in tag.values
    ]


def _tags(call: Call) -> list[Tag]:
    group = named_group(call)
    wanted = EventQuery(group["id"], asking(call, "", period=None).tree, period_of(call))
    return list(tags_of(call.asked, call.lake, wanted).tags)


def _tag(call: Call) -> Tag:
    key = call.params["key"]
    for each in _tags(call):
        if each.key == key:
            return each
    raise ApiError(404, f"there is no tag {key[:80]!r} at the newest events of this issue")
