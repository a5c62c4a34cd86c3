"""The process that reads uploaded files: `python -m tasks_pipeline.symbolication.worker`.

They are strangers' bytes given to native code: a few hundred kilobytes of nested brackets end such code with a
segmentation fault. So it runs apart, with limited memory, and whoever asks limits its time: see `bounded`.
"""

from __future__ import annotations

import resource
import signal
import sys
from typing import BinaryIO

import msgspec
from symbolic.exceptions import SymbolicError

from tasks_pipeline.symbolication.requests import (
    LENGTH,
    Answer,
    Failure,
    FindReference,
    LookupAddresses,
    LookupJava,
    LookupPositions,
    ReadBundledLines,
    ReadLines,
    Request,
)
from tasks_pipeline.symbolication.tables import Tables, Unusable

OPEN_SHARE = (
    8  # of the memory, one part in so many may be inputs of open tables; what is made of them is larger
)

ORPHAN_FACTOR = 2  # times the limit, after which there is nobody who could have ended this process


def answer(tables: Tables, request: Request) -> Answer:
    """Answer one request."""
    tables.stored = False
    try:
        results = _look_up(tables, request)
    except Unusable as error:
        return Answer(failure=Failure(error.status, error.detail[:500]), stored=tables.stored)
    except MemoryError:
        return Answer(failure=Failure("too_large", "not enough memory to read it"), stored=tables.stored)
    except SymbolicError as error:
        detail = str(error).partition("\n")[0]
        return Answer(failure=Failure("malformed", detail[:500]), stored=tables.stored)
    except OSError as error:  # a full disk, a blob gone: not the file's fault
        return Answer(failure=Failure("unavailable", str(error)[:500]), stored=tables.stored)
    return Answer(results=results, stored=tables.stored)


def _look_up(tables: Tables, request: Request) -> object:
    match request:
        case LookupPositions():
            return tables.positions(request)
        case FindReference():
            return tables.reference(request)
        case LookupAddresses():
            return tables.addresses(request)
        case LookupJava():
            return tables.java(request)
        case ReadLines():
            return tables.lines(request)
        case ReadBundledLines():
            return tables.bundled_lines(request)


def serve(requests: BinaryIO, answers: BinaryIO, tables: Tables, seconds: float) -> None:
    """Answer until nobody asks any more.

    Whoever asks ends this process when an answer takes too long; if that one is gone, the kernel does (SIGALRM), also
    in the midst of native code.
    """
    decoder = msgspec.msgpack.Decoder(Request)
    encoder = msgspec.msgpack.Encoder()
    while len(header := requests.read(LENGTH.size)) == LENGTH.size:
        request = decoder.decode(requests.read(LENGTH.unpack(header)[0]))
        signal.setitimer(signal.ITIMER_REAL, ORPHAN_FACTOR * seconds)
        body = encoder.encode(answer(tables, request))
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(LENGTH.pack(len(body)) + body)
        answers.flush()


def main() -> None:
    """Serve standard input and output. Arguments: bytes of the largest file, bytes of memory, seconds for a request."""
    max_file_bytes, memory_bytes, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the end of input is the sign to stop
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # not RLIMIT_AS: large debug files are mapped, which takes addresses but no memory
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = memory_bytes if most == resource.RLIM_INFINITY else min(memory_bytes, most)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    tables = Tables(max_file_bytes, memory_bytes // OPEN_SHARE)
    serve(sys.stdin.buffer, sys.stdout.buffer, tables, seconds)


if __name__ == "__main__":
    main()
