"""Who imports whom: every import of a package as its source says it, also those inside functions and for type checking."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Import:
    """One name that a module takes from another."""

    importer: str
    module: str
    """As dotted names; `module` is a module of the package where that is what is imported, else what stands after `from`."""
    name: str
    line: int
    for_types: bool
    """Under `if TYPE_CHECKING:`."""

    @property
    def imported(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules_of(folder: Path) -> dict[str, Path]:
    """Every module below a package's folder by its dotted name; a package is named like its folder."""
    found = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(modules: Mapping[str, Path]) -> list[Import]:
    """What these modules import from each other."""
    roots = {name.split(".")[0] for name in modules}
    return [
        found
        for importer, path in sorted(modules.items())
        for found in _imports(
            importer, path.name == "__init__.py", ast.parse(path.read_text("utf-8")), modules
        )
        if found.module.split(".")[0] in roots
    ]


def _imports(
    importer: str, is_package: bool, tree: ast.Module, modules: Mapping[str, Path]
) -> Iterator[Import]:
    here = importer.split(".")
    for node, for_types in _with_purpose(tree, False):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(importer, alias.name, "", node.lineno, for_types)
        if isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + is_package] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                one, name = (inner, "") if inner in modules else (module, alias.name)
                yield Import(importer, one, name, node.lineno, for_types)


def _with_purpose(tree: ast.AST, for_types: bool) -> Iterator[tuple[ast.AST, bool]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.expr):  # most of a tree, and nothing is imported there
            continue
        yield node, for_types
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            yield from _with_purpose(ast.Module(node.body, []), True)
            yield from _with_purpose(ast.Module(node.orelse, []), for_types)
        else:
            yield from _with_purpose(node, for_types)


def circles(imports: Iterable[Import], place: Callable[[str], str]) -> list[list[str]]:
    """The sets of places that reach each other over imports, each sorted; no circle, no entry."""
    follows: dict[str, set[str]] = {}
    for one in imports:
        if place(one.importer) != place(one.module):
            follows.setdefault(place(one.importer), set()).add(place(one.module))
    reached = {start: _reached(start, follows) for start in follows}
    found = {
        tuple(sorted(other for other in reached[start] if start in reached.get(other, set())))
        for start in follows
        if start in reached[start]
    }
    return sorted(map(list, found))


def _reached(start: str, follows: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for place in follows.get(waiting.pop(), set()) - seen:
            seen.add(place)
            waiting.append(place)
    return seen
