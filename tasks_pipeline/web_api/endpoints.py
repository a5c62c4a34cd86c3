"""The endpoints of the Web API: which call is answered by what, and the scope that its token needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from tasks_pipeline.web_api import (
    accounts,
    activity,
    attachments,
    commits,
    configured,
    deploys,
    event_tables,
    events,
    issue,
    issues,
    metrics,
    monitors,
    release_reading,
    releases,
    sessions,
    tag_json,
    uploads,
    volumes,
)
from tasks_pipeline.web_api.calls import Call

Handler = Callable[[Call], Response] | Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A handler of calls and the scope that their token needs; none when any token will do.

    A plain function runs in a thread and finds the JSON body in the call; a coroutine reads its body itself.
    """

    method: str
    path: str
    handler: Handler
    scope: str | None


READ, WRITE, ADMIN = "event:read", "event:write", "event:admin"
UPLOADS = "project:releases"
_IMPLIED: Mapping[str, Collection[str]] = {READ: (WRITE, ADMIN), WRITE: (ADMIN,)}
"""Who may write may read."""


def is_granted(scope: str, scopes: Collection[str]) -> bool:
    """Whether a token with these scopes has one."""
    return scope in scopes or any(each in scopes for each in _IMPLIED.get(scope, ()))


_ORG, _PROJECT = "/organizations/{org}", "/projects/{org}/{project}"
_RELEASES, _PROJECT_RELEASES = f"{_ORG}/releases/", f"{_PROJECT}/releases/"
_ISSUES = (f"{_ORG}/issues/{{issue}}/", "/issues/{issue}/")
ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/", accounts.info, None),
    Endpoint("GET", "/auth/", accounts.auth, None),
    Endpoint("GET", "/organizations/", accounts.organizations, "org:read"),
    Endpoint("GET", f"{_ORG}/", accounts.organization, "org:read"),
    Endpoint("GET", "/projects/", accounts.projects, "project:read"),
    Endpoint("GET", f"{_ORG}/projects/", accounts.projects, "project:read"),
    Endpoint("GET", f"{_PROJECT}/", accounts.project, "project:read"),
    Endpoint("GET", f"{_PROJECT}/keys/", accounts.keys, "project:read"),
    Endpoint("GET", f"{_ORG}/environments/", accounts.environments, "project:read"),
    Endpoint("GET", f"{_PROJECT}/environments/", accounts.environments, "project:read"),
    Endpoint("GET", f"{_ORG}/members/", accounts.members, "member:read"),
    Endpoint("GET", f"{_ORG}/teams/", accounts.teams, "team:read"),
    Endpoint("GET", f"{_PROJECT}/teams/", accounts.project_teams, "team:read"),
    Endpoint("GET", "/teams/{org}/{team}/projects/", accounts.team_projects, "team:read"),
    *(
        Endpoint(method, path, configured.refuse, "org:read")
        for method, path in (
            ("POST", f"{_ORG}/teams/"),
            ("POST", f"{_ORG}/projects/"),
            ("POST", "/teams/{org}/{team}/projects/"),
            ("PUT", f"{_PROJECT}/"),
            ("DELETE", f"{_PROJECT}/"),
            ("POST", f"{_PROJECT}/keys/"),
            ("POST", f"{_PROJECT}/rules/"),
        )
    ),
    Endpoint("GET", f"{_ORG}/repos/", commits.repositories, "org:read"),
    *(
        Endpoint("GET", f"{base}/monitors/{rest}", handler, "org:read")
        for base in (_ORG, _PROJECT)
        for rest, handler in (
            ("", monitors.list_monitors),
            ("{slug}/", monitors.show),
            ("{slug}/checkins/", monitors.list_check_ins),
            ("{slug}/stats/", monitors.stats),
        )
    ),
    Endpoint("GET", f"{_ORG}/sessions/", sessions.sessions, "project:read"),
    *(
        Endpoint(method, f"{base}/issues/", handler, scope)
        for base in (_ORG, _PROJECT)
        for method, handler, scope in (
            ("GET", issues.list_issues, READ),
            ("PUT", issues.change_many, WRITE),
            ("DELETE", issues.discard_many, ADMIN),
        )
    ),
    Endpoint("GET", f"{_ORG}/shortids/{{issue}}/", issue.by_short_id, READ),
    Endpoint("GET", f"{_ORG}/eventids/{{event}}/", issue.by_event_id, READ),
    *(
        Endpoint(method, f"{base}{rest}", handler, scope)
        for base in _ISSUES
        for method, rest, handler, scope in (
            ("GET", "", issue.show, READ),
            ("PUT", "", issue.update, WRITE),
            ("DELETE", "", issue.discard, ADMIN),
            ("GET", "events/", events.list_of_group, READ),
            ("GET", "events/{event}/", events.show_of_group, READ),
            ("GET", "hashes/", issue.hashes, READ),
            ("GET", "tags/", tag_json.list_tags, READ),
            ("GET", "tags/{key}/", tag_json.show_tag, READ),
            ("GET", "tags/{key}/values/", tag_json.list_values, READ),
            ("GET", "activities/", activity.list_activities, READ),
            ("GET", "notes/", activity.list_notes, READ),
            ("POST", "notes/", activity.write_note, WRITE),
            ("GET", "comments/", activity.list_notes, READ),
            ("POST", "comments/", activity.write_note, WRITE),
            ("GET", "user-reports/", activity.list_user_reports, READ),
            ("GET", "attachments/", attachments.list_of_group, READ),
            ("GET", "external-issues/", issue.external_issues, READ),
        )
    ),
    Endpoint("GET", f"{_ORG}/events/", event_tables.table, READ),
    Endpoint("GET", f"{_ORG}/events/validate/", event_tables.validate, READ),
    Endpoint("GET", f"{_ORG}/events-stats/", event_tables.series, READ),
    Endpoint("GET", f"{_ORG}/tags/", event_tables.tags, READ),
    Endpoint("GET", f"{_ORG}/stats_v2/", volumes.volumes, "org:read"),
    Endpoint("GET", f"{_ORG}/metrics/data/", metrics.data, "project:read"),
    Endpoint("GET", f"{_PROJECT}/stats/", volumes.of_project, "project:read"),
    Endpoint("GET", f"{_PROJECT}/events/", events.list_of_project, READ),
    Endpoint("GET", f"{_PROJECT}/events/{{event}}/", events.show_of_project, READ),
    Endpoint("GET", f"{_PROJECT}/events/{{event}}/attachments/", attachments.list_of_event, READ),
    Endpoint("GET", f"{_PROJECT}/events/{{event}}/attachments/{{number}}/", attachments.download, READ),
    Endpoint("GET", f"{_ORG}/chunk-upload/", uploads.options, UPLOADS),
    Endpoint("POST", f"{_ORG}/chunk-upload/", uploads.receive_chunks, UPLOADS),
    Endpoint("POST", f"{_ORG}/artifactbundle/assemble/", uploads.assemble_bundle, UPLOADS),
    Endpoint("POST", f"{_PROJECT}/files/difs/assemble/", uploads.assemble_debug_files, UPLOADS),
    Endpoint("GET", f"{_PROJECT}/files/dsyms/", uploads.list_files, "project:read"),
    Endpoint("POST", f"{_PROJECT}/files/dsyms/", uploads.receive_zip, UPLOADS),
    Endpoint("GET", f"{_RELEASES}{{version}}/previous-with-commits/", releases.previous_with_commits, "project:read"),
    *(
        Endpoint(method, f"{base}{rest}", handler, scope)
        for base in (_RELEASES, _PROJECT_RELEASES)
        for method, rest, handler, scope in (
            ("GET", "", release_reading.list_all, "project:read"),
            ("POST", "", releases.create, UPLOADS),
            ("GET", "{version}/", release_reading.show, "project:read"),
            ("PUT", "{version}/", releases.change, UPLOADS),
            ("DELETE", "{version}/", releases.delete, UPLOADS),
            ("GET", "{version}/commits/", release_reading.list_commits, "project:read"),
            ("GET", "{version}/commitfiles/", release_reading.list_files, "project:read"),
            ("GET", "{version}/deploys/", release_reading.list_deploys, "project:read"),
            ("POST", "{version}/deploys/", deploys.deploy, UPLOADS),
        )
    ),
)  # fmt: skip
