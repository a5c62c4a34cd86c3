"""The configuration as a whole: its sections, what must agree between them, and the default without a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import Field, field_validator, model_validator

from tasks_pipeline.config.alerts import AlertRule
from tasks_pipeline.config.channels import AnyChannel
from tasks_pipeline.config.model import Model
from tasks_pipeline.config.notifications import Notifications
from tasks_pipeline.config.people import Member, Team
from tasks_pipeline.config.projects import Key, Organisation, Project
from tasks_pipeline.config.service import Processing, Receiver, Retention
from tasks_pipeline.config.symbols import Symbols
from tasks_pipeline.config.uploads import Uploads
from tasks_pipeline.config.watch import Watch


class Config(Model):
    """The whole file."""

    organisation: Organisation = Organisation()
    projects: tuple[Project, ...] = Field(min_length=1)
    receiver: Receiver = Receiver()
    processing: Processing = Processing()
    retention: Retention = Retention()
    uploads: Uploads = Uploads()
    symbols: Symbols = Symbols()
    notifications: Notifications = Notifications()
    watch: Watch = Watch()
    channels: tuple[AnyChannel, ...] = Field((), description="Ways that messages leave the installation.")
    alert_rules: tuple[AlertRule, ...] = Field((), description="Rules of all projects.")
    members: tuple[Member, ...] = Field((), description="People.")
    teams: tuple[Team, ...] = Field((), description="Members who take care of something together.")

    @model_validator(mode="after")
    def _people(self) -> Config:
        used: tuple[tuple[str, list[str]], ...] = (
            ("channels: name", [c.name for c in self.channels]),
            ("members: email", [m.email for m in self.members]),
            ("teams: slug", [t.slug for t in self.teams]),
        )
        for what, values in used:
            twice = {value for value, times in Counter(values).items() if times > 1}
            if twice:
                raise ValueError(f"{what} used twice: {', '.join(sorted(twice))}")
        channels, members = used[0][1], used[1][1]
        slugs = sorted(p.slug for p in self.projects)
        for team in self.teams:
            _known(f"teams: {team.slug}: channel", team.channel, channels)
            for email in team.members:
                _known(f"teams: {team.slug}: members", email, members)
        names = Counter(rule.name for rule in self.alert_rules)
        for project in self.projects:
            own = names + Counter(rule.name for rule in project.alert_rules)
            doubled = sorted(name for name, times in own.items() if times > 1)
            if doubled:
                raise ValueError(f"alert_rules: name used twice: {', '.join(doubled)}")
        rules = (*self.alert_rules, *(rule for project in self.projects for rule in project.alert_rules))
        known_targets = {"member": members, "channel": channels, "team": [team.slug for team in self.teams]}
        for rule in rules:
            for target in rule.notify:
                kind, _, name = target.partition(":")
                if name:
                    _known(f"alert_rules: {rule.name}: notify", name, known_targets[kind])
        for target in self.watch.operators:
            kind, _, name = target.partition(":")
            if not name:
                raise ValueError(f"watch.operators: {target}; allowed are members, teams and channels")
            _known("watch.operators", name, known_targets[kind])
        _known("watch.fallback_channel", self.watch.fallback_channel, channels)
        for member in self.members:
            for slug, wanted in ((None, member.notifications), *member.projects.items()):
                _known(f"members: {member.email}: channel", wanted.channel, channels)
                if slug is not None:
                    _known(f"members: {member.email}: projects", slug, slugs)
        return self

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

    def channel(self, name: str) -> AnyChannel | None:
        """The channel of this name, or None."""
        return next((c for c in self.channels if c.name == name), None)

    def member(self, email: str) -> Member | None:
        """The member with this address, or None."""
        return next((m for m in self.members if m.email == email), None)

    def team(self, slug: str) -> Team | None:
        """The team of this slug, or None."""
        return next((t for t in self.teams if t.slug == slug), None)

    def project(self, project_id: int) -> Project | None:
        """The project with this number, or None."""
        return next((p for p in self.projects if p.id == project_id), None)


def _known(where: str, name: str | None, allowed: Sequence[str]) -> None:
    if name is not None and name not in allowed:
        raise ValueError(f"{where}: {name} is not configured; allowed: {', '.join(allowed) or 'none'}")


def default_config(public_key: str) -> Config:
    """What is used without a file: one organisation, one project `shop` with number 1 and one key."""
    return Config(projects=(Project(id=1, slug="shop", name="Shop", keys=(Key(public_key=public_key),)),))
