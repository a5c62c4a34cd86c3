"""Authors of commits who are not to be known any more. What else is stored of commits is in commits.py."""

from __future__ import annotations

from sqlalchemy import delete, func, or_, update

from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import commit_authors, commits


def forget_author(state: StateDatabase, email: str) -> int:
    """Remove an author by the address, folded; commits of theirs have none from then on. Gives how many rows of authors went."""
    with state.write() as connection:
        state.serialise(connection, "commits")
        connection.execute(update(commits).where(commits.c.author_key == email).values(author_key=None))
        named = or_(commit_authors.c.author_key == email, func.lower(commit_authors.c.email) == email)
        return int(connection.execute(delete(commit_authors).where(named)).rowcount)


def count_author(state: StateDatabase, email: str) -> int:
    """Rows of authors with an address, folded."""
    with state.read() as connection:
        named = or_(commit_authors.c.author_key == email, func.lower(commit_authors.c.email) == email)
        query = commit_authors.select().where(named)
        return len(connection.execute(query).all())
