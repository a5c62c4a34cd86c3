"""Linker symbols to the names people wrote: C++ (Itanium, MSVC), Rust and Swift, by LLVM's demangler.

It is native code fed with strangers' bytes: call this in the worker process only.
"""

from __future__ import annotations

import re

import pydemumble

MAX_SYMBOL = 4096  # characters; longer ones stay as they are
MAX_NAME = 1024  # characters, what a frame keeps
_RUST = re.compile(r"17h[0-9a-f]{16}E(?![a-z0-9])")  # Rust's older form ends with a digest of the crate
_DIGEST = re.compile(r"::h[0-9a-f]{16}(?![0-9a-z_:])")


def demangle(symbol: str) -> str:
    """The readable name of a symbol; the symbol itself when it is not mangled, or of a form not known."""
    if len(symbol) > MAX_SYMBOL or "\0" in symbol or not symbol.isascii():
        return symbol[:MAX_NAME]
    name = pydemumble.demangle(symbol) or symbol
    if _RUST.search(
        symbol
    ):  # the demangler for Python 3.12 and above leaves it there: the name changed with each build
        name = _DIGEST.sub("", name)
    return name[:MAX_NAME]
