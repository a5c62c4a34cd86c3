"""The configuration as a whole: its sections, what must agree between them, and the default without a file."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, field_validator, model_validator

from tasks_pipeline.config.alerts import AlertRule
from tasks_pipeline.config.analytics import Analytics
from tasks_pipeline.config.backup import Backup
from tasks_pipeline.config.channels import AnyChannel
from tasks_pipeline.config.integrations import AnyIntegration, Tracker
from tasks_pipeline.config.model import Model, Wrong, refuse, repeated, unknown
from tasks_pipeline.config.notifications import Notifications
from tasks_pipeline.config.people import Member, Team, folded
from tasks_pipeline.config.projects import Key, Organisation, Project
from tasks_pipeline.config.reports import Reports
from tasks_pipeline.config.retention import RAW_WITHIN, Retention
from tasks_pipeline.config.service import Processing, Receiver
from tasks_pipeline.config.symbols import Symbols
from tasks_pipeline.config.tracking import disagreements
from tasks_pipeline.config.uploads import Uploads
from tasks_pipeline.config.watch import Watch
from tasks_pipeline.config.web import Web


class Config(Model):
    """The whole file."""

    organisation: Organisation = Organisation()
    projects: tuple[Project, ...] = Field(min_length=1)
    receiver: Receiver = Receiver()
    web: Web = Web()
    processing: Processing = Processing()
    retention: Retention = Retention()
    backup: Backup = Backup()
    uploads: Uploads = Uploads()
    symbols: Symbols = Symbols()
    notifications: Notifications = Notifications()
    analytics: Analytics = Analytics()
    reports: Reports = Reports()
    watch: Watch = Watch()
    channels: tuple[AnyChannel, ...] = Field((), description="Ways that messages leave the installation.")
    integrations: tuple[AnyIntegration, ...] = Field((), description="Connections to issue trackers.")
    trackers: tuple[Tracker, ...] = Field((), description="Places where issues are made from groups.")
    alert_rules: tuple[AlertRule, ...] = Field((), description="Rules of all projects.")
    members: tuple[Member, ...] = Field((), description="People.")
    teams: tuple[Team, ...] = Field((), description="Members who take care of something together.")

    @model_validator(mode="after")
    def _people(self) -> Config:
        refuse([*self._used_twice(), *self._unknown_names(), *disagreements(self)])
        return self

    def _used_twice(self) -> Iterator[Wrong]:
        yield from repeated("name", ((("channels", i, "name"), c.name) for i, c in enumerate(self.channels)))
        yield from repeated("email", ((("members", i, "email"), m.email) for i, m in enumerate(self.members)))
        yield from repeated("slug", ((("teams", i, "slug"), t.slug) for i, t in enumerate(self.teams)))
        repositories = enumerate(self.organisation.repositories)
        yield from repeated(
            "name", ((("organisation", "repositories", i, "name"), each.name) for i, each in repositories)
        )
        of_all = [(("alert_rules", i, "name"), rule.name) for i, rule in enumerate(self.alert_rules)]
        yield from repeated("alert_rules: name", of_all)
        for number, project in enumerate(self.projects):
            own = [
                (("projects", number, "alert_rules", i, "name"), rule.name)
                for i, rule in enumerate(project.alert_rules)
            ]
            known = [*{name: path for path, name in of_all}.items()]
            yield from repeated("alert_rules: name", [*((path, name) for name, path in known), *own])

    def _unknown_names(self) -> Iterator[Wrong]:
        channels, members = [c.name for c in self.channels], [m.email for m in self.members]
        teams = [t.slug for t in self.teams]
        for number, team in enumerate(self.teams):
            yield from unknown(("teams", number, "channel"), team.channel, channels)
            for i, email in enumerate(team.members):
                yield from unknown(("teams", number, "members", i), email, members)
        known_targets = {"member": members, "channel": channels, "team": teams}
        for path, target in self._targets():
            kind, _, name = target.partition(":")
            yield from unknown(path, name or None, known_targets.get(kind, ()))
        for number, target in enumerate(self.watch.operators):
            if ":" not in target:
                said = f"{target} is not allowed here; allowed are members, teams and channels"
                yield Wrong(("watch", "operators", number), said)
        yield from unknown(("watch", "fallback_channel"), self.watch.fallback_channel, channels)
        repositories = [each.name for each in self.organisation.repositories]
        for number, project in enumerate(self.projects):
            yield from unknown(("projects", number, "repository"), project.repository, repositories)
        slugs = sorted(p.slug for p in self.projects)
        for number, team in enumerate(self.teams):
            for i, slug in enumerate(team.projects):
                yield from unknown(("teams", number, "projects", i), slug, slugs)
        for number, member in enumerate(self.members):
            yield from unknown(
                ("members", number, "notifications", "channel"), member.notifications.channel, channels
            )
            yield from unknown(("members", number, "reports", "channel"), member.reports.channel, channels)
            for i, slug in enumerate(
                () if isinstance(member.reports.projects, str) else member.reports.projects
            ):
                yield from unknown(("members", number, "reports", "projects", i), slug, slugs)
            for i, slug in enumerate(() if isinstance(member.sees, str) else member.sees):
                yield from unknown(("members", number, "sees", i), slug, slugs)
            for slug, wanted in member.projects.items():
                yield from unknown(("members", number, "projects", slug), slug, slugs)
                yield from unknown(("members", number, "projects", slug, "channel"), wanted.channel, channels)

    def _targets(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Everybody that rules and operators name, with the place."""
        for number, rule in enumerate(self.alert_rules):
            yield from (
                (("alert_rules", number, "notify", i), target) for i, target in enumerate(rule.notify)
            )
        for at, project in enumerate(self.projects):
            for number, rule in enumerate(project.alert_rules):
                for i, target in enumerate(rule.notify):
                    yield ("projects", at, "alert_rules", number, "notify", i), target
        yield from ((("watch", "operators", i), target) for i, target in enumerate(self.watch.operators))

    @field_validator("projects")
    @classmethod
    def _unique(cls, projects: tuple[Project, ...]) -> tuple[Project, ...]:
        keys = (
            ((number, "keys", i, "public_key"), key.public_key)
            for number, project in enumerate(projects)
            for i, key in enumerate(project.keys)
        )
        refuse(
            [
                *repeated("id", (((number, "id"), str(p.id)) for number, p in enumerate(projects))),
                *repeated("slug", (((number, "slug"), p.slug) for number, p in enumerate(projects))),
                *repeated("public_key", keys),
            ]
        )
        return projects

    @model_validator(mode="after")
    def _sizes(self) -> Config:
        if self.receiver.max_event_bytes > self.receiver.max_envelope_bytes:
            said = (
                "max_event_bytes is larger than max_envelope_bytes; "
                f"allowed is at most {self.receiver.max_envelope_bytes}"
            )
            refuse([Wrong(("receiver", "max_event_bytes"), said)])
        return self

    @model_validator(mode="after")
    def _kept_as_long_as_raw(self) -> Config:
        raw_days = self.retention.raw_days
        places: list[tuple[tuple[str | int, ...], Model]] = [(("retention",), self.retention)]
        places += [(("projects", i, "retention"), p.retention) for i, p in enumerate(self.projects)]
        refuse(
            [
                Wrong(
                    (*path, name),
                    f"{days} is less than retention.raw_days: what was received would still be there; allowed is at least {raw_days}",
                )
                for path, section in places
                for name in RAW_WITHIN
                if name in section.model_fields_set
                and (days := getattr(section, name)) is not None
                and days < raw_days
            ]
        )
        return self

    @model_validator(mode="after")
    def _archived_somewhere(self) -> Config:
        if self.retention.archive_url is None:
            said = "true, and retention.archive_url of the installation does not say where; allowed with it, or false"
            wanted = (number for number, p in enumerate(self.projects) if p.retention.archive)
            refuse([Wrong(("projects", number, "retention", "archive"), said) for number in wanted])
        return self

    def kept_days(self, setting: str, project_id: int | None = None) -> int:
        """How many days something is kept, by the name of its setting in `retention`: of a project, or of one that says nothing
        about it. What raw envelopes hold stays as long as these."""
        project = None if project_id is None else self.project(project_id)
        own = None if project is None else getattr(project.retention, setting, None)
        days: int = getattr(self.retention, setting) if own is None else own
        return max(days, self.retention.raw_days) if setting in RAW_WITHIN else days

    def channel(self, name: str) -> AnyChannel | None:
        """The channel of this name, or None."""
        return next((c for c in self.channels if c.name == name), None)

    def integration(self, name: str) -> AnyIntegration | None:
        """The integration of this name, or None."""
        return next((each for each in self.integrations if each.name == name), None)

    def tracker(self, name: str) -> Tracker | None:
        """The tracker of this name, or None."""
        return next((each for each in self.trackers if each.name == name), None)

    def member(self, email: str) -> Member | None:
        """The member with this address, in any case of letters, or None."""
        wanted = folded(email)
        return next((m for m in self.members if m.email == wanted), None)

    def team(self, slug: str) -> Team | None:
        """The team of this slug, or None."""
        return next((t for t in self.teams if t.slug == slug), None)

    def project(self, project_id: int) -> Project | None:
        """The project with this number, or None."""
        return next((p for p in self.projects if p.id == project_id), None)


def default_config(public_key: str) -> Config:
    """What is used without a file: one organisation, one project `shop` with number 1 and one key."""
    return Config(projects=(Project(id=1, slug="shop", name="Shop", keys=(Key(public_key=public_key),)),))
