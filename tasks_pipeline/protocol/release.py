"""Names of releases: what may be one, what they tell of a package and a version, and how versions sort.

Versions follow https://semver.org 2.0.0 (section 11 for their order) with what clients put around them:
`package@1.2.3-rc.1+build`, one to four numbers, `1.0rc1`. Which of two releases is the newer is in `releases`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_RELEASE = 200
SEARCH_WORD = "latest"
"""Means the newest release of a project wherever a release is asked for; so none may be called so."""
_ID = "[0-9A-Za-z-]+"
_IDS = rf"{_ID}(?:\.{_ID})*"
_VERSION = re.compile(
    r"(?P<shown>v?(?P<numbers>[0-9]{1,18}(?:\.[0-9]{1,18}){0,3})"
    rf"(?:-(?P<written>{_IDS})|(?=[a-z])(?P<implied>{_IDS}))?)(?:\+(?P<build>{_IDS}))?"
)
_HASH = re.compile(
    "(?:[0-9A-Fa-f]{12}|[0-9A-Fa-f]{16}|[0-9A-Fa-f]{20}|[0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})"
)
_DIGITS = re.compile("[0-9]+")
_SHOWN_OF_HASH = 12
_NO_PRE = "~"


@dataclass(frozen=True, slots=True)
class ReleaseName:
    """What the name of a release tells.

    `kind` is `version`, `hash` or `other`; `numbers` (one to four), `pre` (numbers and words, None for a release that is no
    pre-release) and `build` are those of a version. `short` is the name for people.
    """

    package: str | None
    kind: str
    numbers: tuple[int, ...] | None
    pre: tuple[int | str, ...] | None
    build: str | None
    short: str

    @property
    def sort_key(self) -> str | None:
        """ASCII text that sorts, byte by byte, as the versions of one package do; None when the name tells no version.

        Equal keys are the same version: a build that is no number does not count, and 1.0 is 1.0.0.
        """
        if self.numbers is None:
            return None
        numbers = "".join(map(_number, (*self.numbers, 0, 0, 0)[:4]))
        pre = _NO_PRE if self.pre is None else "".join(map(_identifier, self.pre))
        build = (self.build or "").split(".")
        counts = all(map(_DIGITS.fullmatch, build))
        # A blank sorts before all that may follow: of two lists of which one begins with the other, the shorter is first.
        return f"{numbers}{pre} {''.join(_number(int(part)) for part in build) if counts else ''}"


def parse_release(name: str) -> ReleaseName:
    """What a name tells. Any text is one; of what is longer than MAX_RELEASE nothing is told."""
    if len(name) > MAX_RELEASE:
        return ReleaseName(None, "other", None, None, None, name)
    package, rest = _split(name)
    if _HASH.fullmatch(rest):
        return ReleaseName(package, "hash", None, None, None, rest[:_SHOWN_OF_HASH])
    match = _VERSION.fullmatch(rest)
    numbers = tuple(int(n) for n in match["numbers"].split(".")) if match else ()
    if match is None or (len(numbers) == 1 and (package is None or match["implied"])):
        return ReleaseName(package, "other", None, None, None, name)
    build = match["build"]
    shown = build[:_SHOWN_OF_HASH] if build and _HASH.fullmatch(build) else build
    return ReleaseName(
        package=package,
        kind="version",
        numbers=numbers,
        pre=_pre_release(match["written"], match["implied"]),
        build=build,
        short=f"{match['shown']} ({shown})" if shown else match["shown"],
    )


def why_no_release(name: str) -> str | None:
    """Why nothing can be released under this name, for people; None when it can.

    A slash may be in it, as in `@scope/shop@1.0`.
    """
    if len(name) > MAX_RELEASE:
        return f"longer than {MAX_RELEASE} characters"
    if name.lower() == SEARCH_WORD:
        return f"{name!r} means the newest release of a project, so none can be called so"
    if not name or name in (".", "..") or name != name.strip() or not name.isprintable():
        return f"{name[:80]!r} cannot be the name of a release"
    return None


def _split(name: str) -> tuple[str | None, str]:
    """The package and what stands behind it: at the first `@` but a leading one, which is that of an npm scope."""
    at = name.find("@", 1)
    return (name[:at], name[at + 1 :]) if 0 < at < len(name) - 1 else (None, name)


def _pre_release(written: str | None, implied: str | None) -> tuple[int | str, ...] | None:
    """The identifiers of a pre-release. Those behind a dash are as semver has them; of `rc10` without one, 10 is a number."""
    if written is not None:
        parts = written.split(".")
    elif implied is not None:
        parts = re.findall(r"[0-9]+|[^0-9.]+", implied)
    else:
        return None
    return tuple(int(part) if _DIGITS.fullmatch(part) else part for part in parts)


def _identifier(part: int | str) -> str:
    """Numbers before words; a comma, which sorts before all that words are made of, ends a word."""
    return f"0{_number(part)}" if isinstance(part, int) else f"1{part},"


def _number(number: int) -> str:
    """A number behind the number of its digits: sorts by value, and says itself where it ends."""
    digits = str(number)
    return f"{len(digits):03}{digits}"
