"""Pieces of files on their way: their bytes in a blob store of their own, their SHA-1 in the state database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, update

from tasks_pipeline.storage.blobs import BlobDraft, BlobMissing, BlobStore
from tasks_pipeline.storage.state.database import StateDatabase, chunks
from tasks_pipeline.storage.state.tables import upload_chunks

_NAMED_EVERY = timedelta(hours=1)
"""How exact it is kept when a chunk was last named: each write waits for the disk."""
_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file: SHA-1 as clients name it, the blob of the chunk store, its size in bytes."""

    sha1: str
    digest: str
    size: int


class ChunkStore:
    """What was uploaded in pieces and may be asked for by SHA-1."""

    def __init__(self, state: StateDatabase, chunks_url: str) -> None:
        self._state = state
        self._blobs = BlobStore(chunks_url)

    def draft(self) -> AbstractContextManager[BlobDraft]:
        """A local file for a chunk that comes in; `keep` it, then `add` the chunk."""
        return self._blobs.draft()

    def add(self, added: Sequence[Chunk]) -> None:
        """Make kept chunks known."""
        now = datetime.now(UTC)
        rows = {
            c.sha1: {"sha1": c.sha1, "digest": c.digest, "size": c.size, "created_at": now} for c in added
        }
        if not rows:
            return
        statement = self._state.insert(upload_chunks)
        statement = statement.on_conflict_do_update(
            index_elements=["sha1"], set_={"created_at": statement.excluded.created_at}
        )
        with self._state.write() as connection:
            connection.execute(statement, [rows[sha1] for sha1 in sorted(rows)])

    def find(self, sha1s: Sequence[str]) -> dict[str, Chunk]:
        """Those of the chunks that are there, by SHA-1; they are kept on for being named."""
        found: dict[str, Chunk] = {}
        old: list[str] = []
        before = datetime.now(UTC) - _NAMED_EVERY
        with self._state.read() as connection:
            for some in chunks(sorted(set(sha1s))):
                for row in connection.execute(select(upload_chunks).where(upload_chunks.c.sha1.in_(some))):
                    found[row.sha1] = Chunk(row.sha1, row.digest, row.size)
                    if row.created_at < before:
                        old.append(row.sha1)
        if old:
            with self._state.write() as connection:
                for some in chunks(old):
                    named = upload_chunks.c.sha1.in_(some)
                    connection.execute(
                        update(upload_chunks).where(named).values(created_at=datetime.now(UTC))
                    )
        return found

    def read(self, chunk: Chunk) -> Iterator[bytes]:
        """The bytes of a chunk, in pieces. Raises BlobMissing; it is then no longer known, and asked for again."""
        try:
            file = self._blobs.open(chunk.digest)
        except BlobMissing:
            with self._state.write() as connection:
                connection.execute(delete(upload_chunks).where(upload_chunks.c.sha1 == chunk.sha1))
            raise
        with file:
            while piece := file.read(_PIECE):
                yield piece

    def drop_stale(self, older_than: datetime) -> int:
        """Remove chunks last named before this moment, and what killed processes left; gives how many chunks.

        Whoever counts on a chunk that goes away meanwhile finds it missing and has it sent again.
        """
        with self._state.write() as connection:
            dropped = connection.execute(
                delete(upload_chunks).where(upload_chunks.c.created_at < older_than)
            ).rowcount
        stored = set(self._blobs.digests())  # before the rows, so that a chunk just added is not among them
        with self._state.read() as connection:
            known = set(connection.execute(select(upload_chunks.c.digest)).scalars())
        for digest in stored - known:
            self._blobs.delete(digest)
        self._blobs.drop_drafts(older_than)
        return int(dropped)
