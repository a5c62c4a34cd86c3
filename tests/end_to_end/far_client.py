"""A program with the real Python SDK whose error a rule files in issue trackers. Run with SENTRY_DSN and a name for what is missing."""

from __future__ import annotations

import sys

import sentry_sdk


def price_list(name: str) -> str:
    """Looks for what is not there."""
    return {"2025": "old"}[name]


def main(name: str) -> None:
    """Send an error and print its id."""
    sentry_sdk.init(release="shop@1.2.3", environment="far", traces_sample_rate=0)
    try:
        price_list(name)
    except KeyError as error:
        print(sentry_sdk.capture_exception(error))
    sentry_sdk.flush(10)


if __name__ == "__main__":
    main(sys.argv[1])
