"""Section `ownership` of a project: who takes care of which part of the program."""

from __future__ import annotations

from pydantic import Field, model_validator

from tasks_pipeline.config.alerts import Globs, TagIs, Target
from tasks_pipeline.config.model import Model, Wrong, refuse


class Ownership(Model):
    """A part of the program and its owners. As in CODEOWNERS, of several that match the last one counts."""

    path: Globs | None = Field(None, description="Globs of file names of in-app frames; `**` spans folders.")
    url: Globs | None = Field(None, description="Globs of the request's URL.")
    tag: TagIs | None = Field(None, description="A tag and its value.")
    owners: tuple[Target, ...] = Field(min_length=1, description="Members and teams.")

    @model_validator(mode="after")
    def _complete(self) -> Ownership:
        if self.path is None and self.url is None and self.tag is None:
            raise ValueError("nothing says what is owned; allowed are path, url and tag")
        said = "cannot own anything; allowed are an e-mail address and team:SLUG"
        refuse(
            [
                Wrong(("owners", number), said)
                for number, owner in enumerate(self.owners)
                if not owner.startswith(("member:", "team:"))
            ]
        )
        return self
