"""The configuration as a whole: its sections, what must agree between them, and the default without a file."""

from __future__ import annotations

from collections import Counter

from pydantic import Field, field_validator, model_validator

from tasks_pipeline.config.model import Model
from tasks_pipeline.config.projects import Key, Organisation, Project
from tasks_pipeline.config.service import Processing, Receiver, Retention
from tasks_pipeline.config.symbols import Symbols
from tasks_pipeline.config.uploads import Uploads


class Config(Model):
    """The whole file."""

    organisation: Organisation = Organisation()
    projects: tuple[Project, ...] = Field(min_length=1)
    receiver: Receiver = Receiver()
    processing: Processing = Processing()
    retention: Retention = Retention()
    uploads: Uploads = Uploads()
    symbols: Symbols = Symbols()

    @field_validator("projects")
    @classmethod
    def _unique(cls, projects: tuple[Project, ...]) -> tuple[Project, ...]:
        used: tuple[tuple[str, list[str]], ...] = (
            ("id", [str(p.id) for p in projects]),
            ("slug", [p.slug for p in projects]),
            ("public_key", [k.public_key for p in projects for k in p.keys]),
        )
        for what, values in used:
            twice = {value for value, times in Counter(values).items() if times > 1}
            if twice:
                raise ValueError(f"{what} used twice: {', '.join(sorted(twice))}")
        return projects

    @model_validator(mode="after")
    def _sizes(self) -> Config:
        if self.receiver.max_event_bytes > self.receiver.max_envelope_bytes:
            raise ValueError("receiver.max_event_bytes is larger than receiver.max_envelope_bytes")
        return self

    def project(self, project_id: int) -> Project | None:
        """The project with this number, or None."""
        return next((p for p in self.projects if p.id == project_id), None)


def default_config(public_key: str) -> Config:
    """What is used without a file: one organisation, one project `shop` with number 1 and one key."""
    return Config(projects=(Project(id=1, slug="shop", name="Shop", keys=(Key(public_key=public_key),)),))
