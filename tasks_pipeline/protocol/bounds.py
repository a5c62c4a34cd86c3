"""Bounds on what strangers send: numbers, durations, times, lists, texts, and what one envelope may make of them all.

Every number of a payload that is added, multiplied, stored or turned into a time later has its bound here and is held to
it in this package, so that nothing behind it sees more. What is beyond is cut, unknown or refused: each says which.
Where a client's documents or the protocol's name a bound it is that one; the others are far above what clients were
seen to send. Sizes of requests and of items are in the configuration (`receiver.max_…`).
"""

from __future__ import annotations

from datetime import timedelta

# Numbers

MAX_COUNT = 10_000_000
"""Sessions of a bucket, errors, or events dropped, that one report may count; more is refused. A process that counts so many in the
minute between two reports is none. Sums of a day stay within int64 whatever comes: it takes 900 billion such reports."""

MAX_INTEGER = 2**63 - 1
"""Integers beyond are kept as texts of their digits (`decode`), so that no digit of an id is lost."""

MAX_ADDRESS = 2**64 - 1
"""Addresses and sizes in memory; more is invalid. Symbol tables hold no others."""

MAX_LINE_NUMBER = 2**31 - 1
"""Lines, columns, and everything else that is counted within one event; more is invalid."""

# Durations and times

MAX_DURATION = timedelta(days=28)
"""Of a run of a monitor, a session, a transaction: as long as `max_runtime` of a monitor may be. A run or session that
claims more has an unknown duration, since what it says beside that is right: clients that send nanoseconds. (Cut down to
the bound, it would seem to have begun four weeks ago.) A transaction without its duration is nothing: it is refused."""

MAX_AHEAD = timedelta(minutes=1)
MAX_AGE = timedelta(days=30)
"""Events that claim to be from further ahead or longer ago get the time of receipt."""

MAX_SESSION_AGE = timedelta(days=5)
"""Sessions that began longer ago are refused, as the protocol has it."""

MAX_DRIFT = timedelta(seconds=60)
"""Clocks that differ less are taken to be right: the difference is the time on the way."""

MAX_TIME_TEXT = 64
"""Characters of a time; longer ones are none."""

# Monitors

MAX_MINUTES = 28 * 24 * 60
"""`checkin_margin` and `max_runtime`; a configuration with more is invalid."""

MAX_THRESHOLD = 720
"""`failure_issue_threshold` and `recovery_threshold`; a configuration with more is invalid."""

MAX_INTERVAL = {"minute": 5_270_400, "hour": 87_840, "day": 3_660, "week": 520, "month": 120, "year": 10}
"""Ten years by unit: the planned time of a run and its margin stay dates. A configuration with more is invalid."""

MAX_SLUG = 50
MAX_CRONTAB = 200

# What lies in an event; lists are cut and noted

MAX_DEPTH = 100
"""Levels of lists and objects inside one another; deeper payloads are refused."""

MAX_FRAMES = 50
MAX_EXCEPTIONS = 50
MAX_THREADS = 200
MAX_IMAGES = 1000
MAX_LINES = 10
MAX_LINE = 256
MAX_VARS = 8192
MAX_MISSING_SYMBOLS = 200
"""Files that an event waits for to be symbolicated; what is beyond heals nothing when it comes."""

MAX_BREADCRUMBS = 100
MAX_TAGS = 200
MAX_CONTEXTS = 100
MAX_PAIRS = 200
MAX_MODULES = 1000
MAX_FINGERPRINT = 50
MAX_KEY = 200
"""Characters of a key of free data or of a tag."""

MAX_ERRORS = 50
MAX_META_BYTES = 65_536
MAX_SHOWN = 200
"""Characters of a refused value that `errors` shows."""

# Other items; with more of something an item is refused

MAX_AGGREGATES = 100
"""Buckets of a `sessions` item, as the protocol has it; each is a row for each of its counts that is not zero."""

MAX_MECHANISM = 64
"""Characters of `abnormal_mechanism` of a session; a longer one is unknown."""

MAX_DISCARDED = 200
"""Entries of a client report."""

MAX_MESSAGE = 4096
"""Characters of a person's feedback; the rest is cut, as the protocol has it."""

MAX_CHECK_IN_BYTES = 100 * 1024
MAX_CLIENT_REPORT_BYTES = 4 * 1024
"""Larger items are refused by the receiver, as the protocol has it."""

# Envelopes

MAX_HEADERS_BYTES = 64 * 1024
"""Longest header line, of the envelope or of an item; a longer one makes no envelope."""

MAX_PLAIN_HEADERS_BYTES = 1024
"""Of an item's header line that is longer, lists and objects are dropped: nothing reads them, and 64 KiB of empty lists
are 1.4 MB of memory."""

MAX_EVENTS = 1
"""Items of an envelope that are events: they would share one id. An envelope with more is none, as the protocol has it."""

MAX_ENVELOPE_ROWS = 1_000
"""Rows that the items of one envelope may make. The largest that clients send are 500: one item of 100 buckets with five
counts each. Items that go beyond are invalid (`too_many_rows`), the others stay."""

MAX_ENVELOPE_CHECK_INS = 10
"""Check-ins in one envelope, since each is applied to its monitor by itself; clients send one. More are invalid too."""

MAX_BATCH_REASONS = 1_000
"""Names that strangers choose in a batch (unknown item types; reasons and categories of client reports) and outcomes are
counted by; further ones count as `other`."""
