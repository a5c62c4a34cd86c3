"""From staged rows to rows as they are stored: who owns its event id, and which group it is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DataError, IntegrityError

from tasks_pipeline.facts.firsts import First
from tasks_pipeline.facts.types import Firsts
from tasks_pipeline.grouping import explain, group_event
from tasks_pipeline.groups.assign import NewGroup, assign_groups
from tasks_pipeline.groups.counting import GroupCounts
from tasks_pipeline.groups.decisions import discarded_groups
from tasks_pipeline.groups.texts import texts_of
from tasks_pipeline.notifications.frames import paths_of
from tasks_pipeline.processing.base import OutcomeKey, Staged, Staging
from tasks_pipeline.protocol.decode import decode_json
from tasks_pipeline.releases.changes import any_commits
from tasks_pipeline.releases.environments import NONE
from tasks_pipeline.releases.known import Heard
from tasks_pipeline.releases.spans import full_hour
from tasks_pipeline.releases.suspects import FramePath, size_of
from tasks_pipeline.shipping.suspects import frames_of
from tasks_pipeline.storage.ledger.batches import COUNTS, Batch, ensure_held
from tasks_pipeline.storage.ledger.event_ids import EventPlace, own_event_ids
from tasks_pipeline.storage.state.erasures import hold_generation
from tasks_pipeline.storage.state.stones import deleted_projects
from tasks_pipeline.stores import Stores
from tasks_pipeline.tools import ProjectTools
from tasks_pipeline.uploads.arrivals import Wanted

OF_A_ROW = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, DataError, IntegrityError)
"""What a row can be the cause of; a database that is away, a full disk or a lost batch is none of these."""

CANDIDATES = 100  # rows of events of a group and batch that alert rules may look at

SUSPECTED, SUSPECTED_SIZE = 200, 8 * 2**20
"""New groups of a batch whose frames are noted, and bytes of memory of these; they are waited for, and others come later."""
FIRSTS: Mapping[str, Firsts] = {
    "events": "event",
    "transactions": "transaction",
    "sessions": "session",
    "check_ins": "check_in",
    "user_reports": "feedback",
}
"""What a row of these tables may be the first of in its project."""
WITH_ENVIRONMENTS = ("events", "transactions", "sessions")
"""Tables whose rows say where a release runs: a check-in and feedback may come from elsewhere."""


@dataclass(slots=True)
class Settled:
    """Rows by table, what became of items, and what the events add to their groups.

    `size` is about how many bytes of memory the rows hold.
    """

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    outcomes: Counter[OutcomeKey] = field(default_factory=Counter)
    groups: dict[int, GroupCounts] = field(default_factory=lambda: defaultdict(GroupCounts))
    missed: set[Wanted] = field(default_factory=set)  # symbols that were not there
    releases: dict[int, dict[str, Heard]] = field(default_factory=lambda: defaultdict(dict))
    """By project: each release that something was received of, and when."""
    environments: dict[int, dict[tuple[str, str], datetime]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    """By project: environments of events, transactions and sessions of releases, with the first receipt."""
    candidates: dict[int, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    """By group: rows of events that alert rules may look at, not more than CANDIDATES of a group."""
    owned: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """By group: what rules of ownership look at in the first of its candidates, in projects that have such rules."""
    suspected: dict[int, Sequence[FramePath | None]] = field(default_factory=dict)
    """By group: the frames of the first event of some that this batch made, where commits are known; `suspected_size` is about
    how many bytes of memory they take."""
    suspected_size: int = 0
    session_days: set[date] = field(default_factory=set)
    """Days on which sessions began that rows are about."""
    firsts: dict[First, str] = field(default_factory=dict)
    """What was stored of which project, with the SDK that sent it: some of it may be the first of its kind."""
    feedback: set[tuple[int, str]] = field(default_factory=set)
    """What users wrote, by project and id."""
    check_ins: list[dict[str, Any]] = field(default_factory=list)
    """Rows of check-ins, which the monitors are told of when the batch is stored."""
    made: set[int] = field(default_factory=set)
    """Groups that are new."""
    received_at: datetime | None = None
    """Receipt of the first row."""
    size: int = 0

    def counts(self) -> dict[str, int]:
        """Items by outcome, those that the books are about."""
        found = Counter[str]()
        for key, quantity in self.outcomes.items():
            found[key[4]] += quantity
        return {name: found[name] for name in COUNTS}

    def heard_of(self, project_id: int, release: str, sent: Heard) -> None:
        """Note that something of a release was received."""
        known = self.releases[project_id]
        known[release] = known[release].joined(sent) if release in known else sent

    def seen_in(self, project_id: int, release: str, environment: str, at: datetime) -> None:
        """Note that something of a release was received from an environment."""
        seen, pair = self.environments[project_id], (release, environment)
        seen[pair] = min(seen.get(pair, at), at)

    def hear_too(self, other: Settled, most: int) -> None:
        """Note what another one noted of releases, of not more than about `most` releases together."""
        for project_id, heard in other.releases.items():
            if sum(map(len, self.releases.values())) >= most:
                return
            for release, sent in heard.items():
                self.heard_of(project_id, release, sent)
            for (release, environment), at in other.environments.get(project_id, {}).items():
                self.seen_in(project_id, release, environment, at)

    def follow(self, targets: Mapping[int, int]) -> None:
        """Count what was counted of groups for others: those that they were merged into meanwhile."""
        for group_id, target in targets.items():
            self.groups[target].update(self.groups.pop(group_id))
            self.candidates[target] += self.candidates.pop(group_id, [])
            if group_id in self.owned:
                self.owned.setdefault(target, self.owned.pop(group_id))


def settle(
    stores: Stores, staging: Staging, batch: Batch, *, held: bool, into: Settled, since: int | None = None
) -> None:
    """Ask the state database what it must say of the staged rows, and add them to `into`.

    Everything asked for is idempotent: asking again after a crash gives the same answers. `held` makes sure that
    the batch is still this drain's; raises BatchLost. `since`: the generation of deletions (storage/state/erasures.py) in which the
    envelopes were read; raises DeletedMeanwhile in another. An item whose rows the database does not take is refused alone.
    """
    try:
        _settle(stores, staging, batch, held, into, since)
    except OF_A_ROW as error:
        staging.notes.failed("rows cannot be settled", f"batch {batch.id}", error)
        units = _units(staging.staged)
        staging.staged.clear()
        for unit in units:
            _settle_alone(stores, unit, staging, batch, held, into, since)
        _settle(stores, staging, batch, held, into, since)


def _of_living(connection: Connection, rows: Sequence[Staged]) -> tuple[Sequence[Staged], Sequence[Staged]]:
    """Rows of projects that are, and of those that were deleted."""
    gone = deleted_projects(connection, {s.data.context.project_id for s in rows}) if rows else {}
    if not gone:
        return rows, ()
    return (
        [s for s in rows if s.data.context.project_id not in gone],
        [s for s in rows if s.data.context.project_id in gone],
    )


def _units(rows: Iterable[Staged]) -> list[list[Staged]]:
    """Rows by item, in their order; attachments together with the event in their envelope, whose fate they share."""
    units: dict[tuple[int, int], list[Staged]] = defaultdict(list)
    for staged in rows:
        place = staged.data.place
        together = staged.claims_event_id or staged.follows_event
        units[place.position, -1 if together else place.item].append(staged)
    return [*units.values()]


def _settle_alone(
    stores: Stores,
    unit: list[Staged],
    staging: Staging,
    batch: Batch,
    held: bool,
    into: Settled,
    since: int | None,
) -> None:
    """Settle the rows of one item, or of an event and its attachments; what cannot be settled is refused in `staging`."""
    try:
        _settle(stores, Staging(staging.blobs, staging.tools, staged=unit), batch, held, into, since)
    except OF_A_ROW as error:
        for data in {s.data.place: s.data for s in unit}.values():
            staging.refuse(data, "invalid", "processor_error", "settle", f"{type(error).__name__}: {error}")


def _settle(
    stores: Stores, staging: Staging, batch: Batch, held: bool, into: Settled, since: int | None
) -> None:
    with stores.state.write() as connection:
        if since is not None:
            hold_generation(stores.state, connection, since)
        if held:
            ensure_held(connection, batch)
        staged, ownerless = _of_living(connection, staging.staged)
        claiming = [s for s in staged if s.claims_event_id]
        owned = own_event_ids(stores.state, connection, [_event_place(s) for s in claiming])
        doubled = [s for s, owns in zip(claiming, owned, strict=True) if not owns]
        kept, duplicates = apart(staged, doubled)
        made: set[int] = set()
        unwanted = give_groups(stores, connection, [s for s in kept if s.grouping is not None], made)
        kept, discarded = apart(kept, unwanted)
        suspecting = bool(made) and any_commits(connection)
    if suspecting:  # not in the transaction, which others wait for
        _note_suspected(kept, made, into)
    into.made |= made
    into.size += staging.size
    add_rows(into, kept)
    _note_owned(stores, kept, into)
    _add_outcomes(into, staging, kept, duplicates, discarded, ownerless)


def apart(rows: Sequence[Staged], refused: Iterable[Staged]) -> tuple[list[Staged], list[Staged]]:
    """Rows that are kept, and those that are not: the refused ones, with the attachments in their envelopes."""
    refused_ids, envelopes = set(), set()
    for staged in refused:
        refused_ids.add(id(staged))
        envelopes.add(staged.data.place.position)
    kept: list[Staged] = []
    others: list[Staged] = []
    for staged in rows:
        follows = staged.follows_event and staged.data.place.position in envelopes
        (others if id(staged) in refused_ids or follows else kept).append(staged)
    return kept, others


def give_groups(
    stores: Stores, connection: Connection, events: Sequence[Staged], made: set[int] | None = None
) -> list[Staged]:
    """Set the group of each staged event, in the caller's transaction. Gives those whose group is discarded. `made` takes the
    ids of groups that are new."""
    slugs = defaultdict(lambda: "project", stores.slugs)
    wanted = [new_group(s, stores.tools.of(s.row["project_id"])) for s in events]
    given = assign_groups(stores.state, connection, wanted, slugs, made)
    for staged, group_id in zip(events, given, strict=True):
        staged.row["group_id"] = group_id
    discarded = discarded_groups(connection, {s.row["group_id"] for s in events})
    return [s for s in events if s.row["group_id"] in discarded] if discarded else []


def _event_place(staged: Staged) -> EventPlace:
    place = staged.data.place
    return EventPlace(
        staged.data.context.project_id,
        staged.row["event_id"],
        place.day,
        place.part,
        place.position,
        place.item,
    )


def new_group(staged: Staged, tools: ProjectTools) -> NewGroup:
    """What `assign_groups` is asked for a staged event."""
    grouping, row, payload = staged.grouping, staged.row, staged.payload
    assert grouping is not None
    assert payload is not None
    return NewGroup(
        project_id=row["project_id"],
        keys=grouping.keys,
        title=grouping.title,
        culprit=grouping.culprit,
        level=row["level"],
        platform=row["platform"],
        type=row["type"],
        metadata=grouping.metadata,
        algorithm=grouping.algorithm,
        transition_days=tools.transition_days,
        previous_keys=lambda: group_event(decode_json(payload), tools.former_rules()).keys,
        explanation=lambda: explain(decode_json(payload), tools.rules),
        texts=lambda: texts_of(decode_json(payload)),
        received_at=row["received_at"],
    )


def add_rows(into: Settled, kept: Iterable[Staged]) -> None:
    """Add the rows of staged items that are kept, what they say of releases, and their events of groups and missing symbols."""
    for staged in kept:
        row = staged.row
        into.rows[staged.table].append(row)
        _note_first(into, staged.table, row)
        into.received_at = into.received_at or row["received_at"]
        if row.get("release"):
            of_event = row["timestamp"] if staged.grouping else None
            began = row["started"] if staged.table == "sessions" else None
            sent = Heard(row["received_at"], of_event, of_event, began, began)
            into.heard_of(row["project_id"], row["release"], sent)
            if staged.table in WITH_ENVIRONMENTS:
                environment = row["environment"] or NONE
                into.seen_in(row["project_id"], row["release"], environment, row["received_at"])
        if staged.grouping is None:
            if staged.table == "check_ins":
                into.check_ins.append(row)
            elif staged.table == "sessions":
                into.session_days.add(row["started"].date())
            continue
        if len(into.candidates[row["group_id"]]) < CANDIDATES:
            into.candidates[row["group_id"]].append(row)
        if row.get("missing_symbols"):
            into.missed.update((row["project_id"], key) for key in row["missing_symbols"])
        payload = {name: row[name] for name in ("day", "part", "position", "item", "project_id", "event_id")}
        into.rows["event_payloads"].append({**payload, "payload": staged.payload})
        shown = {name: row[name] for name in ("title", "culprit", "level")} | {
            "metadata": dict(staged.grouping.metadata)
        }
        values = (("user", row["user_key"]), ("release", row["release"]), ("environment", row["environment"]))
        place = row["part"], row["position"], row["item"]
        into.groups[row["group_id"]].add(row["timestamp"], place, values, shown)


def _note_first(into: Settled, table: str, row: Mapping[str, Any]) -> None:
    what = FIRSTS.get(table)
    if what is None:
        return
    project_id = row["project_id"]
    if (project_id, what) not in into.firsts:
        into.firsts[project_id, what] = row.get("sdk_name") or ""
    if what == "feedback":
        into.feedback.add((project_id, row["event_id"]))
    elif what == "event" and row["user_key"] and (project_id, "user") not in into.firsts:
        into.firsts[project_id, "user"] = row.get("sdk_name") or ""


def _note_owned(stores: Stores, kept: Iterable[Staged], into: Settled) -> None:
    """Note what rules of ownership look at, while the payload is at hand: to read it back would cost a query for each group."""
    owning = {project.id for project in stores.config.projects if project.ownership}
    for staged in kept if owning else ():
        if staged.payload is None or staged.row["project_id"] not in owning:
            continue
        if staged.row["group_id"] in into.owned:
            continue
        event = decode_json(staged.payload)
        url = (event.get("request") or {}).get("url")
        into.owned[staged.row["group_id"]] = {"paths": paths_of(event), **({"url": url} if url else {})}


def _note_suspected(kept: Iterable[Staged], made: Container[int], into: Settled) -> None:
    """Note the frames of the first event of some groups that are new: commits are suspected by them when its alert is fired.

    Of few, since strangers make new groups by the thousand, whose frames are long. The others are due.
    """
    for staged in kept:
        if len(into.suspected) >= SUSPECTED or into.suspected_size >= SUSPECTED_SIZE:
            return
        group_id: int = staged.row.get("group_id") or 0
        if staged.payload is not None and group_id in made and group_id not in into.suspected:
            frames = frames_of(decode_json(staged.payload))
            into.suspected[group_id] = frames
            into.suspected_size += sum(size_of(frame) for frame in frames if frame is not None)


def _add_outcomes(
    into: Settled,
    staging: Staging,
    kept: Sequence[Staged],
    duplicates: Sequence[Staged],
    discarded: Sequence[Staged],
    ownerless: Sequence[Staged],
) -> None:
    """Each item counts once, however many rows it made."""
    into.outcomes.update(staging.outcomes)
    into.rows["dead_letters"] += staging.dead_letters
    counted = Staging(staging.blobs, staging.tools)
    seen: set[tuple[int, int]] = set()
    fates = (
        ("duplicate", "event_id", duplicates),
        ("discarded", "group", discarded),
        ("discarded", "project", ownerless),
        ("stored", "", kept),
    )
    for outcome, reason, rows in fates:
        for staged in rows:
            place = staged.data.place
            if (place.position, place.item) not in seen:
                seen.add((place.position, place.item))
                counted.count(staged.data, outcome, reason)
    into.outcomes.update(counted.outcomes)


def outcome_rows(
    outcomes: Mapping[OutcomeKey, int], day: date, part: str, first_position: int
) -> list[dict[str, Any]]:
    """Rows of `outcomes` for a batch; they carry the first position of its range, by which a batch is recognised."""
    return [
        {
            "day": day,
            "part": part,
            "position": first_position,
            "item": -1,
            "project_id": project_id,
            "hour": full_hour(slot),
            "slot": slot,
            "public_key": public_key,
            "category": category,
            "outcome": outcome,
            "reason": reason,
            "quantity": quantity,
        }
        for (project_id, slot, public_key, category, outcome, reason), quantity in sorted(outcomes.items())
        if quantity
    ]
