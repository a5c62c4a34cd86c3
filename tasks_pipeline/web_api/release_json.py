"""Releases, their deploys, commits and files as clients know them: one shape, whoever answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks_pipeline.config import Project
from tasks_pipeline.protocol.release import ReleaseName, parse_release
from tasks_pipeline.releases import known
from tasks_pipeline.releases.pages import ReleaseFacts
from tasks_pipeline.releases.repositories import UNKNOWN

Row = Mapping[str, Any]
Health = Mapping[tuple[int, str], Mapping[str, Any]]
"""By project and version: `healthData` of a release."""


def release_json(
    facts: ReleaseFacts,
    projects: Sequence[Project],
    *,
    health: Health | None = None,
    stages: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A release, of its facts in one or more projects; `health` and `stages` are what was asked for besides."""
    rows = facts.rows

    def values(name: str) -> list[Any]:
        return [row[name] for row in rows if row[name] is not None]

    version = rows[0]["version"]
    by_project = {row["project_id"]: row for row in rows}
    found = {
        "id": number_of(version),
        "version": version,
        "shortVersion": parse_release(version).short,
        "versionInfo": version_info(version),
        "status": known.OPEN if known.OPEN in values("status") else known.ARCHIVED,
        "ref": next(iter(values("ref")), None),
        "url": next(iter(values("url")), None),
        "owner": None,
        "dateCreated": min(values("created_at")),
        "dateStarted": min(values("started_at"), default=None),
        "dateReleased": min(values("released_at"), default=None),
        "firstEvent": min(values("first_event_at"), default=None),
        "lastEvent": max(values("last_event_at"), default=None),
        "newGroups": sum(facts.new_groups.values()),
        "commitCount": max(values("commit_count"), default=0),
        "lastCommit": commit_json(facts.last_commit) if facts.last_commit else None,
        "authors": [author_json(author) for author in facts.authors],
        "deployCount": facts.deploy_count,
        "lastDeploy": deploy_json(facts.last_deploy) if facts.last_deploy else None,
        "projects": [
            _project_json(project, by_project[project.id], facts, health)
            for project in projects
            if project.id in by_project
        ],
        "data": {"commits_pending": True} if facts.pending else {},
    }
    return found if stages is None else found | {"adoptionStages": stages}


def _project_json(project: Project, row: Row, facts: ReleaseFacts, health: Health | None) -> dict[str, Any]:
    found = {
        "id": project.id,
        "slug": project.slug,
        "name": project.name or project.slug,
        "platform": project.platform,
        "platforms": [project.platform],
        "newGroups": facts.new_groups.get(project.id, 0),
        "hasHealthData": row["first_session_at"] is not None,
    }
    if health is not None:
        found["healthData"] = health.get((project.id, row["version"]))
    return found


def number_of(name: str) -> int:
    """A number that is always that of this name: clients want one, and ours look at none."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big")


def version_info(version: str) -> dict[str, Any]:
    """What the name of a release tells."""
    parsed = parse_release(version)
    raw = version if parsed.package is None else version[len(parsed.package) + 1 :]
    return {
        "package": parsed.package,
        "version": {"raw": raw} | (_parts(parsed) if parsed.kind == "version" else {}),
        "description": parsed.short,
        "buildHash": _hash(parsed, raw),
    }


def _parts(parsed: ReleaseName) -> dict[str, Any]:
    numbers = parsed.numbers or ()
    major, minor, patch, revision = (*numbers, 0, 0, 0, 0)[:4]
    return {
        "major": major,
        "minor": minor,
        "patch": patch,
        "revision": revision,
        "pre": None if parsed.pre is None else ".".join(map(str, parsed.pre)),
        "buildCode": parsed.build,
        "components": len(numbers),
    }


def _hash(parsed: ReleaseName, raw: str) -> str | None:
    if parsed.kind == "hash":
        return raw
    is_hash = parsed.build is not None and parse_release(parsed.build).kind == "hash"
    return parsed.build if is_hash else None


def author_json(row: Row) -> dict[str, Any]:
    """Whoever made a commit; empty where nobody said."""
    if row["name"] is None and row["email"] is None:
        return {}
    return {"name": row["name"], "email": row["email"]}


def commit_json(row: Row, releases: Iterable[Row] = ()) -> dict[str, Any]:
    """A commit, with the releases that hold it."""
    return {
        "id": row["sha"],
        "message": row["message"],
        "dateCreated": row["committed_at"] or row["created_at"],
        "author": author_json(row),
        "repository": _repository(row),
        "pullRequest": None,
        "suspectCommitType": "",
        "releases": [
            {
                "version": one["version"],
                "shortVersion": parse_release(one["version"]).short,
                "ref": one["ref"],
                "url": one["url"],
                "dateReleased": one["released_at"],
                "dateCreated": one["created_at"],
            }
            for one in releases
        ],
    }


def _repository(commit: Row) -> dict[str, Any] | None:
    """The repository of a commit; None where nobody said which."""
    name = commit["repository"]
    if name is None:
        return None
    return repository_json(
        {
            "id": number_of(name) if commit["repository_id"] is None else commit["repository_id"],
            "name": name,
            "url": commit["repository_url"],
            "provider": commit["provider"] or UNKNOWN,
            "created_at": commit["repository_created_at"] or commit["created_at"],
        }
    )


def repository_json(row: Row) -> dict[str, Any]:
    """A repository as clients know it."""
    provider = row["provider"]
    return {
        "id": str(row["id"]),
        "name": row["name"],
        "url": row["url"],
        "provider": {"id": provider, "name": "Unknown" if provider == UNKNOWN else provider},
        "status": "active",
        "dateCreated": row["created_at"],
    }


def file_json(row: Row) -> dict[str, Any]:
    """A file that a commit changed."""
    return {
        "id": f"{row['sha']}:{row['path']}",
        "orgId": "1",
        "author": author_json(row),
        "commitMessage": row["message"],
        "filename": row["path"],
        "type": row["type"],
    }


def deploy_json(row: Row) -> dict[str, Any]:
    """A deploy as clients know it."""
    return {
        "id": str(row["id"]),
        "environment": row["environment"],
        "name": row["name"],
        "url": row["url"],
        "dateStarted": row["started_at"],
        "dateFinished": row["finished_at"],
    }
