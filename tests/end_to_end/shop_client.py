"""A program with the real Python SDK: raises an error with all that people attach to it. Run with SENTRY_DSN and a marker."""

from __future__ import annotations

import sys

import sentry_sdk


def average_price(prices: list[float]) -> float:
    """Divides by zero for an empty cart."""
    return sum(prices) / len(prices)


def main(marker: str) -> None:
    """Send an error and a message, and print their ids."""
    sentry_sdk.init(release="shop@1.2.3", environment="staging", traces_sample_rate=0)
    sentry_sdk.set_user({"id": "42", "email": "jo@example.com"})
    sentry_sdk.set_tag("marker", marker)
    sentry_sdk.add_breadcrumb(category="cart", message="cart opened")
    try:
        average_price([])
    except ZeroDivisionError as error:
        print(sentry_sdk.capture_exception(error))
    print(sentry_sdk.capture_message(f"nightly import {marker} finished", level="info"))
    sentry_sdk.flush(10)


if __name__ == "__main__":
    main(sys.argv[1])
