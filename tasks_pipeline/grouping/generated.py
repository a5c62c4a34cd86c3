"""Names as people wrote them: what compilers, bundlers and generators of classes put into names is taken out.

Numbers, hashes, line numbers and directories within names change with each build or process, though the code did not. What
a person wrote, as the method around a lambda, stays. All patterns take time in proportion to the length of a name.

Sources: the names that javac, kotlinc, scalac, D8/R8, Roslyn, gcc, clang, MSVC, Go, PHP, Ruby and Rollup, Vite, esbuild, webpack
and Parcel give, as their documentation describes them or as they were seen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tasks_pipeline.grouping.functions import JAVASCRIPT, NATIVE

_LONGEST = 4_096  # characters; longer names stay as they are

_Changes = Sequence[tuple[re.Pattern[str], str]]


def written_function(platform: str, function: str) -> str:
    """The name of a function without what was generated; empty when it only says that there is no name."""
    if not function or len(function) > _LONGEST:
        return function
    if _PLACEHOLDER.fullmatch(function):
        return ""
    if platform in NATIVE:
        return "" if _ADDRESS.fullmatch(function) else _changed(function, _NATIVE_FUNCTIONS)
    if platform == "php":
        return _php_closure(function) if "{closure" in function else _changed(function, _PHP)
    return _changed(function, _FUNCTIONS.get(platform, _OTHER))


def written_module(platform: str, module: str) -> str:
    """The name of a module or class without what was generated."""
    if not module or len(module) > _LONGEST:
        return module
    if _PLACEHOLDER.fullmatch(module):
        return ""
    if platform in JAVASCRIPT:
        return _NUMBERED_MODULE.sub("", _without_build_hash(module))
    return _changed(module, _MODULES.get(platform, ()))


def written_filename(platform: str, filename: str) -> str:
    """A file name without what was generated."""
    if not filename or len(filename) > _LONGEST:
        return filename
    if _PLACEHOLDER.fullmatch(filename):
        return ""
    filename = _LINE.sub(r"\1", filename)
    if platform in JAVASCRIPT:
        place, separator, name = filename.split("?", 1)[0].replace("\\", "/").rpartition("/")
        return place + separator + _NUMBERED_FILE.sub("", _without_build_hash(name))
    return _changed(filename, _FILES.get(platform, ()))


def _changed(name: str, changes: _Changes) -> str:
    for pattern, replacement in changes:
        name = pattern.sub(replacement, name)
    return name


# Names that stand for the lack of one, or of a whole stack trace

_PLACEHOLDER = re.compile(
    r"<(?:disabled|unsupported|unknown|redacted|unavailable|unresolved|missing|invalid|none|null|stripped|optimized out"
    r"|no[ _-]?(?:name|symbols?|backtrace|stack(?:[ _]?trace)?)|unknown[ _](?:function|symbol|module|file)"
    r"|signal handler called|asynchronous suspension)>"
    r"|\((?:disabled|unsupported|unknown|unavailable|unresolved|no (?:name|symbols?|backtrace|stack ?trace))\)"
    r"|(?:disabled|unsupported|no|empty) (?:backtrace|stack ?trace)(?: available)?"
    r"|(?:back|stack ?)trace (?:disabled|unsupported|unavailable|not available)"
    r"|\[?\.{3}\]?(?: \d+ (?:more|common frames omitted))?|-{2,} End of [^\n]{1,100}"
    r"|\(elided \d+ frames?[^\n]{0,60}\)|\(truncated\)|\d+ frames? (?:omitted|hidden|collapsed|truncated)"
    r"|unknown(?: (?:function|symbol|source))?|[?]{2,3}(?::[0?])?|\[unknown\]|_+unknown_*",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"\[?0x[0-9a-f]+\]?|(?=[a-f]*\d)[0-9a-f]{8,16}"
    r"|(?:sub|loc|fcn|fun|unk|nullsub|j_sub|func|fn|symbol)_(?:0x)?[0-9a-f]{4,16}"
    r"|_+lldb_unnamed_(?:symbol|function)\S*"
    r"|[\w.+~-]{0,200}(?:[+!]|\.(?:so|dll|exe|dylib)[+!(])\+?0x[0-9a-f]+\)?",
    re.IGNORECASE,
)

# C, C++, Objective-C, Swift, Rust

_NATIVE_FUNCTIONS: _Changes = (
    (re.compile(r"(?<=\))const\Z"), " const"),
    (
        re.compile(
            r"\) (?:async|throws|rethrows|reasync)(?:\([\w.]{1,200}\))?(?: (?:throws|rethrows)(?:\([\w.]{1,200}\))?)?(?= ->|\Z)"
        ),
        ")",
    ),
    (re.compile(r"(?<=\S) ?\+ ?(?:0x[0-9a-fA-F]{1,16}|\d{1,10})\Z"), ""),  # pay + 42
    (re.compile(r"@(?:plt|LOCAL)\Z"), ""),
    # stdcall, fastcall and vectorcall: _OnTimer@8, @OnTimer@8, OnTimer@@16
    (re.compile(r"\A[_@]?([A-Za-z_]\w*)@{1,2}\d{1,4}\Z"), r"\1"),
    # parts that optimisers split off
    (
        re.compile(
            r"(?:[.$](?:cold|hot|part|isra|constprop|lto_priv|llvm|clone|omp_fn|localalias|resume|destroy|cleanup|VARIANT"
            r"|startup|exit)(?:[.$](?:\d+|mp|up|armv\w+))*){1,8}\Z"
        ),
        "",
    ),
    (re.compile(r"_m[0-9A-F]{16,64}(?:_\w{1,40})?\Z"), ""),  # IL2CPP
    # MSVC: `Cart::pay'::`2'::<lambda_1>, Cart::pay::__l2::<lambda_1>
    (re.compile(r"`(?:\d+|0x[0-9A-Fa-f]+)'::|\b__l\d+::"), ""),
    (re.compile(r"`((?!anonymous)[^`']{1,2000})'(?=::)"), r"\1"),
    (
        re.compile(r"<lambda_\w+>|<lambda\([^<>]{0,500}\)>|\blambda_\d+\b|\$_\d+\b|'lambda\d*'(?=\()"),
        "lambda",
    ),
    (
        re.compile(r"`(?:scalar|vector|eh vector) (?:deleting )?(destructor|constructor)(?: iterator)?'"),
        r"\1",
    ),
    # Rust: {closure#0}, {impl#2}; gcc and clang: {unnamed type#1}
    (re.compile(r"\{\{?(closure|impl)#\d+\}?\}"), r"{{\1}}"),
    (re.compile(r"(?<=\{unnamed type)#\d+(?=\})"), ""),
    # blocks of Objective-C are numbered; in front is the length of the name
    (re.compile(r"\A_{2,3}\d+(?=[-+]\[)"), "__"),
    (re.compile(r"(?<=_block_invoke)(?:[._]\d+){1,8}\Z"), ""),
    # Swift: variants of a function, and the type of a property
    (
        re.compile(
            r"\A(?:(?:\(\d+\) (?:suspend resume|await resume) partial function for|specialized|merged|implicit|outlined"
            r"|(?:function signature|partial generic|generic)(?: not re-abstracted)? specialization <[^\n]{0,500}> of) ){1,4}"
        ),
        "",
    ),
    (
        re.compile(
            r"(?<=\.)(getter|setter|modify|read|init|willset|didset|unsafe\w{0,40}[aA]ddressor) : [^\n]*\Z"
        ),
        r"\1",
    ),
)

# Java, Kotlin, Scala, Groovy, Clojure

_JVM_FUNCTIONS: _Changes = (
    # javac and D8: lambda$pay$0, lambda$pay$0$Cart, lambda$pay$0$com-acme-Cart
    (re.compile(r"\Alambda\$([^$]+)(?:\$\d+)?(?:\$.*)?\Z"), r"lambda in \1"),
    # Kotlin: pay$lambda$0, pay$lambda-1$lambda-0
    (re.compile(r"\A(.+?)(?:\$lambda[-$]\d++){1,16}\Z"), r"lambda in \1"),
    (re.compile(r"\A(\$anonfun\$.+?)\$\d+(?:\$adapted)?\Z"), r"\1"),  # Scala
    (re.compile(r"\Aaccess\$\d+\Z"), "access$"),
    (re.compile(r"\A\$r8\$lambda\$.+\Z"), "$r8$lambda"),
    (re.compile(r"(?<=_closure)\d+"), ""),
)
_JVM_MODULES: _Changes = (
    # java.lang.reflect.Proxy: jdk.proxy2.$Proxy17, com.sun.proxy.$Proxy17
    (re.compile(r"\A(?:jdk\.proxy\d+\.|com\.sun\.proxy\.)\$Proxy\d+\Z"), "$Proxy"),
    (re.compile(r"(?<=\$Proxy)\d+"), ""),
    # D8 and R8: Cart$$ExternalSyntheticLambda2
    (re.compile(r"(?<=\$\$ExternalSynthetic)([A-Za-z]+)\d+"), r"\1"),
    (re.compile(r"(?<=\$\$InternalSynthetic)([A-Za-z]+)\$\d+\$[0-9a-f]{8,128}\$\d+"), r"\1"),
    # lambdas since JDK 21, as those before: Cart$$Lambda/0x00007f0c
    (re.compile(r"\$\$Lambda/0x[0-9a-fA-F]+"), "$$Lambda$"),
    (re.compile(r"/(?:0x)?[0-9a-fA-F]{4,16}\Z"), ""),  # other hidden classes
    (re.compile(r"(?<=\.LambdaForm\$)(\w*[^\W\d])\d+\Z"), r"\1"),
    (re.compile(r"(?<=\$lambda)[-$]-?\d+(?:\$\d+)?"), ""),  # Compose: ComposableSingletons$CartKt$lambda-1$1
    # Kotlin: Cart$pay$1, Cart$pay$1$invokeSuspend$$inlined$map$2$3
    (re.compile(r"(?<=[$.])([a-z]\w{0,200}?)(?:\$\d+){1,8}(?![^$])"), r"\1$"),
    (re.compile(r"(\$\$anonfun\$[A-Za-z_]\w*)(?:\$\d+){1,8}"), r"\1"),  # Scala
    (re.compile(r"(?<=_closure)\d+"), ""),  # Groovy
    (re.compile(r"(?<=\$(?:eval|iter))__\d+(?:__\d+)?"), ""),  # Clojure
    (re.compile(r"(?<=\$reify)__\d+"), ""),
    # Byte Buddy, Mockito, Weld, EJB containers, Javassist, Jackson, Hibernate, generated codecs
    (re.compile(r"\$(ByteBuddy|MockitoMock|auxiliary|Access4Jackson\w{0,40}?)\$?\w{0,20}(?=\$|\Z)"), r"$\1"),
    (re.compile(r"\$Hibernate(Instantiator|BasicProxy|AccessOptimizer)\$\w+"), r"$Hibernate\1"),
    (re.compile(r"_\$\$_jvst[0-9a-f]+_[0-9a-f]+"), "_$$_jvst"),
    (re.compile(r"(?<=\$\$view)\d+"), ""),
    (re.compile(r"(?<=GeneratedIteratorForCodegenStage)\d+"), ""),
)

# .NET: <Pay>b__3_0, <Pay>d__12, <>c__DisplayClass5_0, <Pay>g__Charge|4_0; F#: pay@57-1; IL2CPP: Cart_Pay_m0A1B2C3D

_DOTNET: _Changes = (
    (
        re.compile(
            r"(?<=>[bdg]__)([A-Za-z]\w*(?=\|)|[A-Za-z](?:\w*?[^\W\d])??(?=\d))?\|?\d++(?:_\d++)?(?!\w)"
        ),
        r"\1",
    ),
    (re.compile(r"(?<=DisplayClass)\d+(?:_\d+)?|(?<=AnonymousType)\d+|(?<=AnonymousDelegate)\d+"), ""),
    (re.compile(r"\b(lambda_method|AnonymousMethod__)[\d_]+"), r"\1"),
    (re.compile(r"(?<=\w)@\d+(?:-\d+)?"), "@"),
    (re.compile(r"(_Lambda|_Closure)\$__\d+(?:-\d+)?|(VB\$StateMachine)_\d+"), r"\1\2"),
    (re.compile(r"(\bCastle\.Proxies\.\w+?Proxy)_\d+"), r"\1"),
    (re.compile(r"(?<=\.DynamicProxies\.)(\w+)_[0-9A-F]{64}"), r"\1"),
    (re.compile(r"\bApp_Web_[a-z0-9]{8}\b"), "App_Web"),
    (re.compile(r"_m[0-9A-F]{8,64}(?:_[a-z]\w{0,40})?\Z"), ""),
)

_GO: _Changes = (
    (re.compile(r"\.(func|gowrap|deferwrap)\d+(?:\.\d+)*"), r".\1"),
    (re.compile(r"\binit\.\d+"), "init"),
    (re.compile(r"-range\d+"), "-range"),
)

_RUBY: _Changes = (
    # since Ruby 3.4 names say their class: Cart#total, block in Cart#total, Price.of
    (re.compile(r"(?:\A|(?<= in ))(?:[A-Z]\w*(?:::[A-Z]\w*)*|#<Class:[^<>]{1,200}>)[#.](?=\S)"), ""),
)

_BEAM: _Changes = (
    (re.compile(r"(?<=elixir_compiler_)\d+"), ""),
    (re.compile(r"(?<=-)(fun|lc|lbc|blc|bbc)(?:\$\^\d+/\d+)?-\d+-"), r"\1-"),  # -pay/2-fun-0-
)

# PHP, beside closures: Symfony's container, lazy objects, proxies, and compiled templates of Twig and Blade

_PHP: _Changes = (
    (re.compile(r"\bContainer[A-Za-z0-9]{7}\\"), r"Container\\"),
    (re.compile(r"\b(__TwigTemplate)_[0-9a-f]{32,64}(?:___\d+)?"), r"\1"),
    (re.compile(r"(\\__PM__\\[\w\\]{1,200}?)\\Generated[0-9a-f]{32}"), r"\1"),
    (re.compile(r"(?<=[a-z])(Ghost|Proxy)[0-9a-f]{7}\b"), r"\1"),
    (re.compile(r"\bMockery_\d+_"), "Mockery_"),
)
_PHP_CLOSURE = re.compile(r"\{closure:([^{}]*):\d+\}")
_NESTED_CLOSURES = 8


def _php_closure(function: str) -> str:
    """Since PHP 8.4 closures are named after where they lie: {closure:Cart::pay():41}, {closure:/srv/7/web.php:17}."""
    for _ in range(_NESTED_CLOSURES):
        named = _PHP_CLOSURE.sub(_closure_in, function)
        if named == function:
            break
        function = named
    return function


def _closure_in(match: re.Match[str]) -> str:
    place = match[1]
    if not place.endswith(("()", "]")):  # a file, perhaps of a release's own directory
        place = re.sub(r"\(\d+\)", "", place.replace("\\", "/").rpartition("/")[2])
    return f"[closure in {place}]"


_JAVASCRIPT: _Changes = (
    # what one engine says besides: async pay, new Cart, get total, Cart.pay [as onClick]
    (re.compile(r"\A(?:async\*|(?:async|new|get|set) )(?=\S)"), ""),
    (re.compile(r" \[as [^\[\]]{1,200}\]\Z"), ""),
    (re.compile(r"(?<=\w)\$\d+\Z"), ""),  # Rollup tells names of two modules apart: render$1
    (re.compile(r"(?<=wasm-function)\[\d+\]"), ""),
)

# Lua: function <cart.lua:12>; Perl: main::__ANON__[/srv/cart.pl:12]
_OTHER: _Changes = (
    (re.compile(r"(?<=function <)([^<>:]{1,500}):\d+(?=>)"), r"\1"),
    (re.compile(r"(?<=__ANON__)\[[^\[\]]*\]"), ""),
)

_FUNCTIONS: Mapping[str, _Changes] = {
    "java": _JVM_FUNCTIONS,
    "csharp": _DOTNET,
    "go": _GO,
    "ruby": _RUBY,
    "elixir": _BEAM,
    "erlang": _BEAM,
    "javascript": _JAVASCRIPT,
    "node": _JAVASCRIPT,
    "dart": ((re.compile(r"<anonymous closure>|<fn>"), "<closure>"),),
}
_MODULES: Mapping[str, _Changes] = {
    "java": _JVM_MODULES,
    "csharp": _DOTNET,
    "go": _GO,
    "php": _PHP,
    "elixir": _BEAM,
}
_FILES: Mapping[str, _Changes] = {
    "php": ((re.compile(r"(?<![^/\\])[0-9a-f]{32,64}(?=\.php\Z)"), ""),),
    "python": (
        (re.compile(r"<ipython-input-\d+-[0-9a-f]+>"), "<ipython-input>"),
        (re.compile(r"<command-\d+(?:-\d+)?>"), "<command>"),  # Databricks
        (re.compile(r"\ACell In ?\[\d+\]"), "Cell"),
        (re.compile(r"(ipykernel)_\d+[/\\]\d+(?=\.py\Z)"), r"\1"),
    ),
    "ruby": ((re.compile(r"\A\(eval at [^\n]{1,1000}:\d+\)\Z"), "(eval)"),),  # since Ruby 3.3
    "java": ((re.compile(r"\Ar8-map-id-[0-9a-f]+\Z"), ""),),
}

# Bundlers put a hash of the content into the names of files.

_HASH = re.compile(
    r"(?<![^./~:_-])(?:"
    r"(?=[0-9]*[a-f])(?=[a-f]*[0-9])(?:[0-9a-f]{8}|[0-9a-f]{10}|[0-9a-f]{12}|[0-9a-f]{16}|[0-9a-f]{20}|[0-9a-f]{24}"
    r"|[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})"
    r"|(?<=\.)(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{5,7}"
    r"|(?=[0-9]*[A-Z])(?=[A-Z]*[0-9][0-9]*[A-Z])[0-9A-Z]{8}"
    r"|(?<=[.-])\d{8,20}"
    r")(?![^./~_-])"
)
# base64url, of which Rollup takes eight characters; it may hold what elsewhere separates words
_BASE64_HASH = re.compile(r"(?<=[.-])[\w-]{8}(?=\.|\Z)|(?<=[._-])[A-Za-z0-9]{16,32}(?=[._-]|\Z)")
_WORD = re.compile(r"(?:[A-Z]?[a-z]+(?:[A-Z][a-z]+)*|[A-Z]+)\d*(?:[-_](?:[A-Z]?[a-z]+|[A-Z]+|(?=\d))\d*)*")
_NUMBERED_FILE = re.compile(r"\A\d+(?=\.[cm]?js\Z)")  # the number of a chunk: 812.js
_NUMBERED_MODULE = re.compile(r"(?<=[:./])\d+\Z")
_LINE = re.compile(r"(\.\w{1,8}):\d+(?::\d+)?\Z")  # of a file with its line: cart.rs:143
_LEFT_OVER = re.compile(r"(?<![._~-])[._~-]+(?=[.:/]|\Z)")


def _without_build_hash(name: str) -> str:
    shorter = _BASE64_HASH.sub(_unless_word, _HASH.sub("", name))
    return _LEFT_OVER.sub("", shorter) if shorter != name else name


def _unless_word(match: re.Match[str]) -> str:
    token = match[0]
    mixed = token.lower() != token and token.upper() != token
    return "" if mixed and not _WORD.fullmatch(token) else token
