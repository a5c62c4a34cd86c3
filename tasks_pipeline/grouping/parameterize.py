"""Messages without their variable parts: ids, addresses, dates and numbers become `<name>`, words stay."""

from __future__ import annotations

import re

from tasks_pipeline.grouping.rows import without_rows

LONGEST = 8_192
"""Longer texts (characters) are left alone."""

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)(?:[a-z]{2,6})?"
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:[a-z]{3,6})?"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?"
_ZONE = r"(?:Z(?:\d{2}:\d{2})?|[+-]\d{2}:?\d{2}|(?:GMT|UTC)[+-]\d{4}(?: \([\w ]{1,60}\))?|[A-Z]{3,4}(?![\w]))"
_HEXTETS = r"[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{1,4}){0,6}"
_DOMAINS = (
    "com|net|org|edu|gov|mil|info|biz|io|co|eu|de|uk|fr|nl|ch|at|it|es|pt|se|no|dk|fi|be|cz|pl|ru|ua|cn|jp|kr|tw|hk|sg"
    "|br|mx|ar|au|nz|ca|us|za|il|tr|in|example|internal|(?<=cluster\\.)local"
)
# Names of packages look like host names; these begin packages and no hosts worth mentioning.
_PACKAGES = r"(?:com|org|net|io|java|javax|sun|jdk|android|androidx|kotlin|scala)\."

# Every pattern starts at the edge of a word (the group around them sees to that) and has no ambiguous repetition, so
# that one pass over any text takes time in proportion to its length. The order decides between overlapping readings.
_PATTERNS: dict[str, str] = {
    "email": r"\w[\w.%+'-]{0,63}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}",
    "url": r"(?:https?|wss?|ftp)://[^\s'\"<>()\[\]{}|\\^`]+(?<![.,;:!?])",
    "hostname": rf"(?<![.@/-])(?!{_PACKAGES})(?:[A-Za-z0-9-]{{1,63}}\.){{1,10}}(?:{_DOMAINS})(?![\w(-]|\.\w)",
    "ip": (
        r"(?<!\.)\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)"
        r"|(?<!:)(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?![\w:])"
        rf"|(?<!:)(?=[A-Fa-f:]{{0,32}}[0-9]){_HEXTETS}::(?:{_HEXTETS})?(?![\w:(])"
    ),
    "traceparent": r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(?!\w)|1-[0-9a-f]{8}-[0-9a-f]{24}(?!\w)",
    "uuid": r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}(?!\w)",
    "sha1": r"[0-9a-fA-F]{40}(?!\w)",
    "md5": r"[0-9a-fA-F]{32}(?!\w)",
    "date": (
        rf"\d{{4}}[-/]\d{{2}}[-/]\d{{2}}(?:[T ]{_CLOCK}(?: ?{_ZONE})?)?(?!\w)"
        rf"|\d{{8}}(?:T\d{{6}}(?:\.\d{{1,9}})?Z?|[T ]\d{{2}}:\d{{2}}:\d{{2}}(?:\.\d{{1,9}})?)(?!\w)"
        rf"|(?:{_DAY},? )?\d{{1,2}}[ /-]{_MONTH}[ /-]\d{{2,4}}(?:[ :]{_CLOCK}(?: {_ZONE})?)?(?!\w)"
        rf"|{_DAY} {_MONTH} {{1,2}}\d{{1,2}} (?:{_CLOCK}(?: [A-Z]{{3,4}})? \d{{4}}|\d{{4}} {_CLOCK}(?: {_ZONE})?)(?!\w)"
        rf"|{_MONTH} {{1,2}}\d{{1,2}}(?:,? \d{{4}}(?: {_CLOCK})?| {_CLOCK})(?!\w)"
        r"|\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)? ?[AaPp][Mm](?!\w)"
        r"|(?<![:.])\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,9})?(?![\w:])"
        r"|datetime\.(?:datetime|date|time)\((?:[^()]|\((?:[^()]|\([^()]{0,80}\)){0,80}\)){1,160}\)"
    ),
    "duration": r"(?:\d{1,9}h)?(?:\d{1,9}m)?\d{1,18}(?:\.\d{1,18})?(?:ms|us|µs|ns|secs?|seconds?|s)(?!\w)",
    "mac": r"[0-9A-Fa-f]{2}(?:(?::[0-9A-Fa-f]{2}){5}|(?:-[0-9A-Fa-f]{2}){5})(?![\w:-])",
    "swift_txn_id": r"tx[0-9a-f]{21}-[0-9a-f]{10}[\w-]*",
    "hex": (
        r"0[xX][0-9A-Fa-f]+(?!\w)"
        # in one case, with digits and letters: neither a word nor a number
        r"|(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{7,}(?!\w)"
        r"|(?=[A-F]*[0-9])(?=[0-9]*[A-F])[0-9A-F]{8,}(?!\w)"
    ),
    # letters and numbers taking turns three times in one long word: no identifier a person wrote
    "id": r"(?=[0-9A-Za-z]{20,}(?!\w))[A-Za-z]*\d+[A-Za-z]+\d+[A-Za-z]+\d[0-9A-Za-z]*",
    "float": r"(?<!\.)\d+(?:\.\d+(?:[eE][+-]?\d+)?|[eE][+-]?\d+)(?!\w|\.\d)",
    "int": r"\d+(?!\w)",
}
_GLUED = "uuid", "sha1", "md5"  # unmistakable even behind an underscore

# What the former algorithm does not know. It comes first; a name may end with underscores, which are not shown.
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
_ANY_MONTH = rf"(?:{'|'.join([*_MONTHS.split(), *_MONTHS.upper().split(), *_MONTHS.lower().split()]).replace('|may', '')})"
_ANY_MONTH = rf"{_ANY_MONTH}(?:[a-zA-Z]{{2,6}})?\.?"
_TIME = r"\d{1,2}[:.]\d{2}(?:[:.]\d{2}(?:[.,]\d{1,9})?)?(?: ?[AaPp]\.?[Mm]\.?(?!\w))?"
_ZONES = (
    rf"(?: ?{_ZONE})?(?: [A-Z]{{3,4}}(?!\w))?(?: m=[+-]\d{{1,12}}\.\d{{1,9}})?(?: \([A-Z][\w ]{{1,60}}\))?"
)
_POD = "[bcdfghjklmnpqrstvwxz2456789]"  # of which Kubernetes makes names

_SINCE: dict[str, str] = {
    "date__": (
        rf"(?:{_DAY},? )?\d{{1,2}}(?:st|nd|rd|th|\.)?[ /-]{_ANY_MONTH}[ /-]\d{{2,4}}(?:[ :,]{{1,2}}{_TIME}{_ZONES})?(?!\w)"
        rf"|(?:{_DAY},? )?{_ANY_MONTH} {{1,2}}\d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}(?:,? (?:at )?{_TIME}{_ZONES})?(?![\w:])"
        rf"|\d{{4}}[-/]\d{{2}}[-/]\d{{2}}[T ]{_CLOCK}{_ZONES}(?!\w)"
        r"|\d{4}-?W\d{2}(?:-?\d)?(?!\w)"
    ),
    "process": r"(?<=<)\d{1,20}(?:\.\d{1,20}){1,5}(?=>)",  # Erlang: #PID<0.4326.0>, #Reference<0.2871.4.88>
    # whether four numbers are an address is chance
    "ip__": r"(?<!\.)\d{1,10}(?:\.\d{1,10}){3}(?!\w|\.\d)",
    "hex__": r"(?<=[A-Za-z$;\[\]]@)[0-9a-f]{1,8}(?![\w.-])",  # Java: com.example.Cart@6d06d69c
    "id__": (
        rf"(?<=[a-z0-9]-)(?=[a-z]{{0,15}}-?[a-z]{{0,5}}\d){_POD}{{8,10}}-{_POD}{{5}}(?!\w)"
        r"|(?<=/)tmp[a-z0-9_]{8}(?!\w)"  # files of Python's tempfile
    ),
}


def _alternation(patterns: dict[str, str]) -> str:
    plain = "|".join(f"(?P<{name}>{pattern})" for name, pattern in patterns.items())
    glued = "|".join(f"(?P<{name}_>{_PATTERNS[name]})" for name in _GLUED)
    signed = "|".join(f"(?P<signed_{name}>-{_PATTERNS[name]})" for name in ("float", "int"))
    quoted = (
        r"(?<==)(?:(?P<quoted_str>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<bool>(?i:true|false))(?!\w))"
    )
    short_ip = rf"(?<![\w:])(?P<ip_>::(?=[A-Fa-f:]{{0,32}}[0-9]){_HEXTETS})(?![\w:(])"
    return rf"{quoted}|\b(?=\w)(?:{plain})|(?<=_)(?:{glued})|(?<![\w-])(?:{signed})|{short_ip}"


_VARIABLE = re.compile(_alternation(_SINCE | _PATTERNS), re.DOTALL)
_FORMER_VARIABLE = re.compile(_alternation(_PATTERNS), re.DOTALL)
_CANDIDATE = re.compile(r"[0-9@=:]|\w\.\w|/tmp")


def parameterize(text: str, *, former: bool = False) -> str:
    """`text` with emails, URLs, host names, addresses, ids, hashes, dates, durations, numbers and what databases repeat of
    rows replaced by `<name>`.

    One pass from left to right in time linear in the length; a text longer than `LONGEST` comes back unchanged. `former`:
    as the former algorithm does it.
    """
    if len(text) > LONGEST:
        return text
    if not former:
        text = without_rows(text)
    if not _CANDIDATE.search(text):
        return text
    return (_FORMER_VARIABLE if former else _VARIABLE).sub(_placeholder, text)


def _placeholder(match: re.Match[str]) -> str:
    name = match.lastgroup or ""
    return f"<{name.removeprefix('signed_').rstrip('_')}>"
