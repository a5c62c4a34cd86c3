"""Module names and file names as they count for grouping: without what a class generator numbered or hashed."""

from __future__ import annotations

import re

_GENERATED = (
    # reflection accessors are numbered in order of creation
    (
        re.compile(
            r"\b((?:sun|jdk\.internal)\.reflect\.Generated(?:Serialization)?(?:Method|Constructor)Accessor)\d+"
        ),
        r"\1",
    ),
    # CGLIB: Type$$EnhancerBySpringCGLIB$$1f2e3d, Type$$FastClassByGuice$$1f2e3d, Type$$SpringCGLIB$$0
    (re.compile(r"(\$\$(?:\w*CGLIB|EnhancerBy\w*|FastClassBy\w*)\$\$)[0-9a-fA-F]+"), r"\1"),
    (re.compile(r"\$HibernateProxy\$\w+"), "$HibernateProxy"),
    (re.compile(r"(\$fn__)\d+"), r"\1"),
)
_JAVASSIST = re.compile(r"(\$\$_javassist)(?:_seam)?(?:_\d+)?", re.IGNORECASE)


def normalise_module(platform: str, module: str, path: str = "") -> tuple[str, str | None]:
    """The module name to group by and, when it is empty although `module` is not, the reason.

    `path` is the absolute path (or URL) of the frame's file.
    """
    if platform in ("javascript", "node") and "/" in module and path.endswith(module):
        return "", "only the end of the path"
    if platform == "java":
        if "$$Lambda$" in module:
            return "", "generated for a lambda"
        if "$" in module or "reflect" in module:
            for pattern, replacement in _GENERATED:
                module = pattern.sub(replacement, module)
            module = _JAVASSIST.sub(r"\1", module)
    return module, None


def normalise_filename(platform: str, filename: str) -> str:
    """The last segment of a file name in lower case, without query string (JavaScript) and generated numbers (Java)."""
    if platform in ("javascript", "node"):
        filename = filename.split("?", 1)[0]
    name = filename.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].lower()
    return _JAVASSIST.sub(r"\1", name) if platform == "java" else name
