"""Function names as they count for grouping: without arguments, generics, return types and generated numbers."""

from __future__ import annotations

import re

NATIVE = frozenset({"native", "c", "objc", "cocoa", "swift"})
JAVASCRIPT = frozenset({"javascript", "node"})

_LONGEST = 4_096
_MAX_NESTED_SELF_TYPES = 4

_OBJC_SELECTOR = re.compile(r"[-+]\[[^\[\]]+\]")
_CLONE = re.compile(r" ?\[clone [^\[\]]*\]")
_SUFFIX = re.compile(r"::h[0-9a-f]{16}\Z|@@?GLIBC(?:XX)?_[\w.]+\Z|@\d+\Z")
_ANONYMOUS_NAMESPACE = re.compile(
    r"\(anonymous namespace\)|`anonymous[- ]namespace'|\?A0x[0-9a-fA-F]{8}\b|\banonymous_namespace_?\{?0x[0-9a-f]+\}?"
)
_LAMBDA = re.compile(
    r"\$_\d+\b"  # clang: main::$_42
    r"|\{lambda\([^{}]*\)#\d+\}"  # gcc: main::{lambda(int)#1}
    r"|<?\blambda_[0-9a-f]{8,40}\b>?"  # msvc: <lambda_7156c3ce...>
    r"|'lambda\d*'(?:\([^()]*\))?"  # clang demangled: main::'lambda'(int)
)
_OPERATOR = re.compile(r"(?<!\w)operator *(?:<=>|<<=|>>=|->\*|->|<<|>>|<=|>=|\(\)|\[\]|<|>)")
_TRAILING_QUALIFIERS = (" const", " volatile", " noexcept")
_SWIFT_CLOSURE = re.compile(r"(?:^|.*?(?<!\S)(?P<what>\w+) for )(?:@\w+(?: @\w+)*|closure)\Z")
_SWIFT_ATTRIBUTES = re.compile(r"(?:@\w+ )+")
_BLANKET_PARAMETER = re.compile(r"[A-Z]\w?\Z")
_NAMESPACE_MARK = "\x01"  # stands for the anonymous namespace, whose name has a blank and brackets
_OPERATOR_MARK = "\x02"  # stands for an operator, whose name may have brackets

_RUBY_GENERATED = re.compile(r"__\d{4,}_\d{4,}\Z")
_PHP_ANONYMOUS = re.compile(r"(?:class|[\w\\]{1,200})@anonymous")
_NAMELESS_JS = frozenset({"", "?", "<anonymous>", "<anonymous function>", "Anonymous function"})


def trim_function(platform: str, function: str) -> str:
    """The name to show: arguments, generics, return type and compiler decorations removed.

    Objective-C selectors and names whose brackets do not match come back as they are. Applying it twice changes nothing.
    """
    if platform == "csharp":
        return function.split(" (", 1)[0]
    if platform in NATIVE and len(function) <= _LONGEST:
        return _trim_native(function, _MAX_NESTED_SELF_TYPES)
    return function


def normalise_function(platform: str, function: str) -> tuple[str, str | None]:
    """The name to group by and, when it is empty although `function` is not, the reason."""
    if platform in JAVASCRIPT:
        name = function.rsplit(".", 1)[-1]
        return ("", "anonymous") if name in _NAMELESS_JS or name.endswith("/<") else (name, None)
    if platform in NATIVE:
        return (
            ("", "unknown symbol")
            if function in ("<redacted>", "<unknown>")
            else (trim_function(platform, function), None)
        )
    if platform == "ruby":
        return ("block", None) if function.startswith("block ") else (_RUBY_GENERATED.sub("", function), None)
    if platform == "java" and function.startswith("lambda$"):
        return "", "generated for a lambda"
    if platform == "php":
        return _normalise_php(function)
    return function, None


def _normalise_php(function: str) -> tuple[str, str | None]:
    if function.startswith("[Anonymous"):
        return "", "anonymous"
    if _PHP_ANONYMOUS.match(function):
        # what lies between is the path of the file and an address
        _, found, method = function.rpartition("::")
        return (method, None) if found else ("", "anonymous")
    return function, None


def _trim_native(function: str, self_types: int) -> str:
    name = function.strip()
    if _OBJC_SELECTOR.search(name) or (name.startswith("<") and name.endswith(">") and "<" not in name[1:]):
        return function
    name = _SUFFIX.sub("", _CLONE.sub("", name))
    name = _LAMBDA.sub("lambda", _ANONYMOUS_NAMESPACE.sub(_NAMESPACE_MARK, name))
    operator = _OPERATOR.search(name)
    if operator:
        name = name[: operator.start()] + _OPERATOR_MARK + name[operator.end() :]
    stripped = _strip_brackets(name, self_types)
    if stripped is None:
        return function
    closure_in = ""
    if (
        stripped.startswith("closure ") and " in " in stripped
    ):  # Swift: closure #1 (Int) -> () in Shop.checkout()
        closure_in, stripped = "closure in ", stripped.rpartition(" in ")[2]
    name = closure_in + _last_token(_without_qualifiers(stripped.split(" -> ", 1)[0]))
    if operator:
        name = name.replace(_OPERATOR_MARK, operator.group().replace(" ", ""))
    return name.replace(_NAMESPACE_MARK, "(anonymous namespace)") or function


def _strip_brackets(name: str, self_types: int) -> str | None:
    """Without anything in round brackets, and with <T> for anything in angle brackets; None when they do not match."""
    kept: list[str] = []
    closers: list[str] = []
    opened = 0
    for position, char in enumerate(name):
        if char in "(<":
            if not closers:
                opened = position
            closers.append(")" if char == "(" else ">")
        elif char in ")>" and not (char == ">" and name[position - 1 : position] == "-"):
            if not closers or closers.pop() != char:
                return None
            if not closers and char == ">":
                in_front_of_path = name.startswith("::", position + 1) and (not kept or kept[-1] == " ")
                kept.append(_replace_generic(name[opened + 1 : position], in_front_of_path, self_types))
        elif not closers:
            kept.append(char)
    return None if closers else "".join(kept)


def _replace_generic(inner: str, in_front_of_path: bool, self_types: int) -> str:
    """What `<inner>` becomes: <T>, or in front of a Rust path (`<Type as Trait>::name`) the type it stands for."""
    if not in_front_of_path or not self_types:
        return "<T>"
    of_type, _, trait = inner.partition(" as ")
    chosen = trait if trait and _BLANKET_PARAMETER.match(of_type) else of_type
    return _trim_native(chosen.lstrip("&*"), self_types - 1)


def _without_qualifiers(name: str) -> str:
    while True:
        shorter = name.rstrip(" &")
        for qualifier in _TRAILING_QUALIFIERS:
            shorter = shorter.removesuffix(qualifier)
        if shorter == name:
            return name
        name = shorter


def _last_token(name: str) -> str:
    """The function's own name: what follows the return type, with operators and Swift closures kept whole."""
    closure = _SWIFT_CLOSURE.match(name)
    if closure:
        return f"{closure['what']} for closure" if closure["what"] else "closure"
    name = _SWIFT_ATTRIBUTES.sub("", name)
    operator = name.find(_OPERATOR_MARK)
    if operator < 0:
        word = re.search(r"(?<!\w)operator (?=\S)", name)  # conversions: Foo::operator unsigned int
        operator = word.start() if word else len(name)
    return name[name.rfind(" ", 0, operator) + 1 :]
