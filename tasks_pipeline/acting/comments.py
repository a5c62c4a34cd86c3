"""Comments on groups, written, changed and deleted by those who may: each their own, admins any."""

from __future__ import annotations

from sqlalchemy import select

from tasks_pipeline.access.viewer import Viewer
from tasks_pipeline.acting.together import NotAllowed
from tasks_pipeline.links.comments import CommentError, add_comment, delete_comment, edit_comment
from tasks_pipeline.storage.state.database import StateDatabase
from tasks_pipeline.storage.state.tables import groups, issue_comments


def comment(state: StateDatabase, viewer: Viewer, group_id: int, text: str) -> int:
    """Comment on a group; gives the number of the comment. Raises NotAllowed and CommentError."""
    with state.read() as connection:
        project = connection.execute(select(groups.c.project_id).where(groups.c.id == group_id)).scalar()
    if project is None or not viewer.may_see(project):
        raise CommentError("there is no such group")
    if not viewer.may("member"):
        raise NotAllowed("it takes the role member")
    return add_comment(state, group_id, viewer.actor, text)


def change_comment(state: StateDatabase, viewer: Viewer, comment_id: int, text: str) -> None:
    """Change a comment. Raises NotAllowed and CommentError."""
    _check(state, viewer, comment_id)
    edit_comment(state, comment_id, viewer.actor, text)


def remove_comment(state: StateDatabase, viewer: Viewer, comment_id: int) -> None:
    """Delete a comment. Raises NotAllowed and CommentError."""
    _check(state, viewer, comment_id)
    delete_comment(state, comment_id, viewer.actor)


def _check(state: StateDatabase, viewer: Viewer, comment_id: int) -> None:
    c = issue_comments.c
    with state.read() as connection:
        row = connection.execute(select(c.project_id, c.author).where(c.id == comment_id)).first()
    if row is None or not viewer.may_see(row.project_id):
        raise CommentError(f"there is no comment {comment_id}")
    if not viewer.may("member") or (row.author != viewer.actor and not viewer.may("admin")):
        raise NotAllowed("it is somebody else's comment")
