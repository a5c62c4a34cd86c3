"""Object files made by hand, as small as they can be: Mach-O (also fat) and WebAssembly, with a symbol table each."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence

CPU_X86_64, CPU_ARM64 = 0x01000007, 0x0100000C
TEXT = 0x1_0000_0000


def macho(cpu: int, debug_id: uuid.UUID, symbols: Sequence[tuple[bytes, int]]) -> bytes:
    """A dSYM's object: symbols (with their underscore) at addresses relative to its text segment."""
    names, entries = b"\0", b""
    for name, address in symbols:
        entries += struct.pack("<IBBHQ", len(names), 0x0F, 1, 0, TEXT + address)
        names += name + b"\0"
    segment = struct.pack("<II16sQQQQiiII", 0x19, 152, b"__TEXT", TEXT, 0x4000, 0, 0, 7, 5, 1, 0)
    section = struct.pack("<16s16sQQ", b"__text", b"__TEXT", TEXT + 0x1000, 0x1000)
    section += struct.pack("<8I", 0, 4, 0, 0, 0x80000400, 0, 0, 0)
    identity = struct.pack("<II16s", 0x1B, 24, debug_id.bytes)
    start = 32 + 152 + 24 + 24
    table = struct.pack("<6I", 2, 24, start, len(symbols), start + len(entries), len(names))
    header = struct.pack("<8I", 0xFEEDFACF, cpu, 0, 0xA, 3, 152 + 24 + 24, 0, 0)
    return header + segment + section + identity + table + entries + names


def fat_macho(*objects: tuple[int, bytes]) -> bytes:
    """Objects for several processors in one file."""
    header, data = struct.pack(">II", 0xCAFEBABE, len(objects)), b""
    for index, (cpu, content) in enumerate(objects):
        header += struct.pack(">5I", cpu, 0, 0x4000 * (index + 1), len(content), 14)
        data += content.ljust(0x4000, b"\0")
    return header.ljust(0x4000, b"\0") + data


def wasm(build_id: bytes, *functions: bytes) -> tuple[bytes, list[int]]:
    """A module with named functions; also where in the file the code of each begins."""
    body = b"\0" + b"\x41\0\x1a" * 5 + b"\x0b"
    bodies = b"".join(_sized(body) for _ in functions)
    names = b"".join(_leb(i) + _sized(name) for i, name in enumerate(functions))
    before = (
        b"\0asm\x01\0\0\0"
        + _section(1, b"\x01\x60\0\0")
        + _section(3, _leb(len(functions)) + b"\0" * len(functions))
    )
    code = _section(10, _leb(len(functions)) + bodies)
    first = len(before) + len(code) - len(bodies)
    made = before + code + _section(0, _sized(b"name") + b"\x01" + _sized(_leb(len(functions)) + names))
    return made + _section(0, _sized(b"build_id") + _sized(build_id)), [
        first + i * (len(body) + 1) + 1 for i in range(len(functions))
    ]  # fmt: skip


def _leb(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _sized(data: bytes) -> bytes:
    return _leb(len(data)) + data


def _section(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + _sized(data)
