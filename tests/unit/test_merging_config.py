"""The section `merging` of a project."""

from __future__ import annotations

import pytest

from tasks_pipeline.config import ConfigError, parse_config

PROJECT = "projects:\n  - {id: 1, slug: shop, keys: [{public_key: abcd}]}\n"


def with_merging(text: str) -> str:
    return PROJECT.replace("]}\n", f"], merging: {text}}}\n")


def test_nothing_is_merged_by_itself_unless_somebody_says_so() -> None:
    assert parse_config(PROJECT).projects[0].merging.merge_above is None
    assert parse_config(with_merging("{merge_above: 0.9}")).projects[0].merging.merge_above == 0.9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{propose_above: 0.4}", "greater than or equal to 0.5"),
        ("{merge_above: 1.1}", "less than or equal to 1"),
        ("{merge_above: 0.6}", r"merge_above is 0.6, below propose_above \(0.7\)"),
        ("{merge_at: 0.6}", "allowed: merge_above, propose_above"),
    ],
)
def test_thresholds_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf":2: projects\[0\].merging.*{message}"):
        parse_config(with_merging(text))
