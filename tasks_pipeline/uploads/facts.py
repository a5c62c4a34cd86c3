"""What is found in uploaded files, as plain data. No stores here: the process that looks into files must start fast."""

from __future__ import annotations

import msgspec


class UploadError(Exception):
    """The upload cannot be used; the message says why, to the person who sent it."""


class DebugObject(msgspec.Struct, frozen=True):
    """One object in a debug file. `debug_id` is normalised, `kind` the container (elf, macho, pe, pdb, breakpad, wasm,
    sourcebundle, portablepdb, proguard), `object_kind` dbg, exe, lib, src …, `features` of symtab, debug, unwind,
    sources, mapping."""

    debug_id: str
    code_id: str | None
    kind: str
    object_kind: str
    arch: str
    features: tuple[str, ...]


class BundleFile(msgspec.Struct, frozen=True):
    """A file in an artifact bundle, as its manifest describes it; `debug_id` is normalised, `source_map` as stated."""

    path: str
    type: str
    url: str | None
    debug_id: str | None
    source_map: str | None


class Bundle(msgspec.Struct, frozen=True):
    """An artifact bundle: what its manifest says."""

    release: str | None
    dist: str | None
    files: tuple[BundleFile, ...]


class ZippedFile(msgspec.Struct, frozen=True):
    """A file that was unpacked from a zip: its name there, and its name in the folder it was unpacked to."""

    name: str
    unpacked: str


class Findings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the inspecting process found, or the reason why the file cannot be used."""

    error: str | None = None
    objects: tuple[DebugObject, ...] = ()
    bundle: Bundle | None = None
    unpacked: tuple[ZippedFile, ...] = ()
