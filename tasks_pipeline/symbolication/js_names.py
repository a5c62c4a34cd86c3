"""Names in JavaScript's world: URLs under which artifacts are looked up, sources as bundlers name them, functions."""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache
from urllib.parse import unquote

_NO_FILE = ("node:", "native:", "data:", "blob:", "about:", "internal/", "<", "[", "wasm:", "evalmachine.")
_FOREIGN = re.compile(
    r"(?:chrome|moz|ms-browser|safari|safari-web)-extension:|webkit-masked-url:|resource:|chrome:",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_BUNDLER = re.compile(
    r"(?:webpack|webpack-internal|turbopack|rollup|parcel|vite|ng|rspack)://", re.IGNORECASE
)
_EXTENSION = re.compile(
    r"(?:\.(?:min|bundle|prod))?\.(?:[cm]?[jt]sx?|vue|svelte|astro|html?)$", re.IGNORECASE
)
_TOOLING = re.compile(r"(?:^|/)(?:webpack/(?:bootstrap|runtime|startup|before-startup)|\(webpack\))")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_ESCAPED = re.compile(r"[%/?#\x00-\x1f\x7f]")  # what a name may hold and a path would take for something else
_NAME = re.compile(r"[A-Za-z_$][\w$]{0,99}")

NAMELESS = frozenset({None, "", "?", "<anonymous>", "<unknown>"})


@lru_cache(4096)
def is_file(url: str) -> bool:
    """Whether artifacts may exist for the file of a frame: not for engines' own code nor for browser extensions."""
    return not url.startswith(_NO_FILE) and not _FOREIGN.match(url) and ("/" in url or "." in url)


@lru_cache(4096)
def plain_url(url: str) -> str:
    """The one spelling of a URL or path without query: `%5Bid%5D` and `[id]` are the same name (RFC 3986, section 6.2.2).

    Bundlers name files as they are, browsers report them as they asked for them. What no UTF-8 stands for stays escaped.
    """
    return "/".join(map(_plain_name, url.split("/")))


def _plain_name(name: str) -> str:
    try:
        name = unquote(name, errors="strict")
    except UnicodeDecodeError:
        return _ESCAPE.sub(lambda escape: escape[0].upper(), name)
    return _ESCAPED.sub(lambda found: f"%{ord(found[0]):02X}", name)


@lru_cache(4096)
def candidates(url: str) -> tuple[str, ...]:
    """The URLs that an artifact of this file may have, best first: with its host, and with `~` for scheme and host; each in the
    spelling of `plain_url`, which uploads are known by, and as it is, which those before were known by.

    Query and fragment do not count (docs on sentry-cli: `~/assets/app.js`).
    """
    whole = url.split("?", 1)[0].split("#", 1)[0]
    root, path = _split(whole)
    urls = (whole,) if root == "~" else (whole, f"~/{path.lstrip('/')}")
    return tuple(dict.fromkeys(spelled for url in urls for spelled in (plain_url(url), url)))


@lru_cache(4096)
def join(base: str, reference: str) -> str:
    """A reference seen from a URL or path, of any scheme; `~/…` and file paths are bases like any other."""
    if _SCHEME.match(reference) or reference.startswith("~/"):
        return reference
    root, path = _split(base.split("?", 1)[0].split("#", 1)[0])
    if reference.startswith("//"):  # another host
        return root.partition("//")[0] + reference
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), reference))
    return f"{root}/{joined.lstrip('/')}" if root else joined


def _split(url: str) -> tuple[str, str]:
    """What goes before the path (scheme and host, or `~`), and the path; a file path has nothing before it."""
    if url.startswith("~/"):
        return "~", url[1:]
    scheme = _SCHEME.match(url)
    if not scheme:
        return "", url
    host, _, path = url[scheme.end() :].partition("/")
    return scheme[0] + host, f"/{path}"


@lru_cache(4096)
def source_name(source: str) -> str:
    """What people call a source: without the bundler's scheme, its namespace and query."""
    bundler = _BUNDLER.match(source)
    if not bundler:
        return source
    path = source[bundler.end() :].split("?", 1)[0]
    namespace, slash, rest = path.partition("/")
    if not slash or namespace in (".", "..", "~"):
        return path
    # webpack:///./src/a.ts has no namespace, webpack://shop/./src/a.ts has one
    return rest or path


@lru_cache(4096)
def source_url(minified: str, source: str) -> str:
    """Where a source lies, seen from the minified file."""
    return source if _BUNDLER.match(source) else join(minified, source)


@lru_cache(4096)
def is_library(source: str) -> bool:
    """Whether a source is somebody else's: a package, or the bundler's own code."""
    return "/node_modules/" in f"/{source}" or bool(_TOOLING.search(source))


@lru_cache(4096)
def module_name(source: str) -> str | None:
    """The module of a source: its path without what is above it, scheme, host and extension; `src/cart`, `lodash/map`."""
    name = source_name(source)
    name = _split(name)[1]
    name = name.replace("\\", "/").split("?", 1)[0].rpartition("node_modules/")[2]
    parts = [part for part in name.split("/") if part not in ("", ".", "..", "~")]
    if not parts:
        return None
    return _EXTENSION.sub("", "/".join(parts))[:512] or None


def function_name(scope: str | None, call: str | None, minified: str | None) -> str | None:
    """The original name of a function: of its scope, else what its caller calls it, else that it has none.

    `call` is the name at the position of the frame that called it. Without any of these the minified name is no name
    either, but the one of a top-level function of the engine's (`Object.<anonymous>`) says at least that much.
    """
    if scope not in NAMELESS:
        return scope
    if call is not None and _NAME.fullmatch(call):
        return call
    if scope == "<anonymous>" or minified in NAMELESS:
        return "<anonymous>"
    return minified
