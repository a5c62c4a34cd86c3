"""Linker symbols to the names people wrote: C++ (Itanium, MSVC), Rust and Swift, by LLVM's demangler.

It is native code fed with strangers' bytes: call this in the worker process only.
"""

from __future__ import annotations

import pydemumble

MAX_SYMBOL = 4096  # characters; longer ones stay as they are
MAX_NAME = 1024  # characters, what a frame keeps


def demangle(symbol: str) -> str:
    """The readable name of a symbol; the symbol itself when it is not mangled, or of a form not known."""
    if len(symbol) > MAX_SYMBOL or "\0" in symbol or not symbol.isascii():
        return symbol[:MAX_NAME]
    return (pydemumble.demangle(symbol) or symbol)[:MAX_NAME]
