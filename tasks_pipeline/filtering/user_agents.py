"""What a User-Agent header says: the browser and its major version, and whether it is a crawler."""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 512
"""Only so many characters of a header are looked at."""

RULE = re.compile(r"(ie|edge|safari|opera|opera_mini|android|chrome|firefox)(?:(_pre_)?([1-9]\d{0,3}))?")
"""A rule for browsers: `ie` any version, `ie9` this one, `safari_pre_6` those before."""

_CRAWLERS = re.compile(
    # "bot" at the end of a word, as in Googlebot, bingbot/2.0, AhrefsBot; CUBOT makes phones
    r"(?<!cu)bot\b|bot[/;]|crawler|crawling|spider\b|\bslurp\b|archiver|facebookexternalhit|facebookcatalog|mediapartners-google"
    r"|google-(?:read-aloud|inspectiontool|extended|safety|structured-data)|apis-google|feedfetcher|bingpreview"
    r"|yandex(?:images|video|media|blogs|metrika|webmaster|accessibility)|baiduspider|sogou|ia_archiver|qwantify"
    r"|whatsapp/|telegram(?:bot)?\b|skypeuripreview|vkshare|embedly|pinterest/0\.|outbrain|w3c_validator|lighthouse"
    r"|pingdom|uptimerobot|statuscake|site24x7|chatgpt-user|perplexity-user|claude-user|bytespider|google favicon",
    re.IGNORECASE,
)


@lru_cache(4096)
def is_crawler(user_agent: str) -> bool:
    """Whether a program that reads the web names itself: search engines, previews of links, monitors."""
    return _CRAWLERS.search(user_agent[:LONGEST]) is not None


_TRIDENT = re.compile(r"Trident/(\d+)")
_VERSION = re.compile(r"\bVersion/(\d+)")
_ANDROID = re.compile(r"\bAndroid (\d+)")
# In this order: most browsers claim to be others too.
_BROWSERS = (
    ("ie", re.compile(r"\bMSIE (\d+)")),
    ("edge", re.compile(r"\b(?:Edge|Edg|EdgA|EdgiOS)/(\d+)")),
    ("opera_mini", re.compile(r"\bOpera Mini/(\d+)")),
    ("opera", re.compile(r"\b(?:OPR|Opera)[/ ](\d+)")),
    ("firefox", re.compile(r"\b(?:Firefox|FxiOS)/(\d+)")),
    ("chrome", re.compile(r"\b(?:Chrome|Chromium|CriOS)/(\d+)")),
)


@lru_cache(4096)
def browser(user_agent: str) -> tuple[str, int] | None:
    """Family (as in RULE) and major version of a browser; None for other programs. `android` is its own old browser."""
    text = user_agent[:LONGEST]
    if trident := _TRIDENT.search(text):  # compatibility modes name an older MSIE beside it
        return "ie", int(trident[1]) + 4
    for family, expression in _BROWSERS:
        if found := expression.search(text):
            version = _VERSION.search(text) if found[0].startswith("Opera/") else None
            return family, int((version or found)[1])
    version = _VERSION.search(text)
    if version is None or "Safari/" not in text:
        return None
    android = _ANDROID.search(text)
    return ("android", int(android[1])) if android else ("safari", int(version[1]))


def matches_rule(rule: str, found: tuple[str, int]) -> bool:
    """Whether a browser falls under a rule (see RULE)."""
    match = RULE.fullmatch(rule)
    if match is None or match[1] != found[0]:
        return False
    if match[3] is None:
        return True
    return found[1] < int(match[3]) if match[2] else found[1] == int(match[3])
