"""Frames of minified JavaScript to their sources: by debug id, else by release, distribution and URL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from symbolic.debuginfo import normalize_debug_id
from symbolic.exceptions import SymbolicError

from tasks_pipeline.symbolication.js_names import (
    candidates,
    function_name,
    is_file,
    is_library,
    join,
    module_name,
    plain_url,
    source_name,
    source_url,
)
from tasks_pipeline.symbolication.keys import debug_id_key, release_key
from tasks_pipeline.symbolication.library import Budget, FileFailed, Library
from tasks_pipeline.symbolication.requests import FindReference, Lines, LookupPositions, ReadLines, Token
from tasks_pipeline.symbolication.source import Artifact
from tasks_pipeline.symbolication.stacks import (
    JAVASCRIPT,
    MISSING,
    NO_POSITION,
    SYMBOLICATED,
    TOO_LARGE,
    UNAVAILABLE,
    Findings,
    Frame,
    Stack,
    images,
    stacks,
    with_lines,
    with_status,
)

_FAILURE_ERRORS = {MISSING: "js_no_source", TOO_LARGE: "js_too_large", UNAVAILABLE: "js_no_source"}

Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Script:
    """What was found for a minified file.

    `source` is the file itself, `map` its map; `inline` says that the map is inside the source. `map_url` is what
    people are shown, and `missing_map` where the source says a map should be that is not there.
    """

    url: str
    source: Artifact | None = None
    map: Artifact | None = None
    inline: bool = False
    map_url: str = ""
    missing_map: str = ""

    @property
    def subject(self) -> str:
        """Names the files for the library."""
        return " ".join(f"{a.digest}/{a.path}" if a else "" for a in (self.source, self.map))


@dataclass(frozen=True, slots=True)
class Resolved:
    """The tokens of a script's positions, or how all of them failed."""

    script: Script
    tokens: dict[Position, Token | None]
    failure: str = ""
    detail: str = ""


def symbolicate_javascript(
    event: dict[str, Any], project_id: int, library: Library, budget: Budget, findings: Findings
) -> None:
    """Replace the JavaScript stacks of an event."""
    _Javascript(event, project_id, library, budget, findings).run()


class _Javascript:
    """One event at work."""

    def __init__(
        self, event: dict[str, Any], project_id: int, library: Library, budget: Budget, findings: Findings
    ) -> None:
        self.platform = event.get("platform")
        self.release: str | None = event.get("release")
        self.dist: str | None = event.get("dist")
        self.project_id, self.library, self.budget, self.findings = project_id, library, budget, findings
        self.debug_ids = _debug_ids(images(event))
        self.stacks = stacks(event)

    def run(self) -> None:
        urls: dict[str, set[Position]] = {}
        work = []
        for stack in self.stacks:
            of_frames = [self._url(frame) for frame in stack.frames]
            for url, frame in zip(of_frames, stack.frames, strict=True):
                if url is not None:
                    urls.setdefault(url, set()).update(_position(frame))
            if any(of_frames):
                work.append((stack, of_frames))
        resolved = {url: self._resolve(url, positions) for url, positions in urls.items()}
        for stack, of_frames in work:
            self._replace(stack, of_frames, resolved)

    def _url(self, frame: Frame) -> str | None:
        """The file of a frame when it can be looked up."""
        if (frame.get("platform") or self.platform) not in JAVASCRIPT:
            return None
        filename: str | None = frame.get("filename")
        url: str | None = frame.get("abs_path") or filename
        if not url or not frame.get("lineno"):
            return None
        if plain_url(url) in self.debug_ids:
            return url
        if filename and plain_url(filename) in self.debug_ids:
            return filename
        return url if self.release and is_file(url) else None

    # From URLs to files

    def _resolve(self, url: str, positions: set[Position]) -> Resolved:
        script = Script(url)
        ordered = sorted(positions)
        try:
            script = self._script(url)
            if script.map is None and not script.inline:
                return Resolved(script, {})
            tokens = self.library.look_up(
                f"map:{script.subject}", ordered, lambda unknown: self._request(script, unknown), self.budget
            )
        except FileFailed as error:
            return Resolved(script, {}, error.failure.status, error.failure.detail)
        return Resolved(script, dict(zip(ordered, tokens, strict=True)))

    def _request(self, script: Script, positions: list[Position]) -> LookupPositions:
        return LookupPositions(
            source=self.library.file(script.source) if script.source else None,
            source_map=self.library.file(script.map) if script.map else None,
            positions=positions,
        )

    def _script(self, url: str) -> Script:
        debug_id = self.debug_ids.get(plain_url(url))
        script = self.library.remembered(
            ("script", self.project_id, debug_id, self.release, self.dist, url),
            lambda: self._find_script(url, debug_id),
        )
        if (script.source is None and script.map is None) or script.missing_map:
            if debug_id:
                self.findings.missing.add(debug_id_key(debug_id))
            if self.release:
                self.findings.missing.add(release_key(self.release, self.dist))
        return script

    def _find_script(self, url: str, debug_id: str | None) -> Script:
        if debug_id:
            artifacts = self.library.artifacts(self.project_id, debug_id)
            source, source_map = _of_type(artifacts, "minified_source"), _of_type(artifacts, "source_map")
            if source_map is not None:
                return Script(url, source, source_map, map_url=source_map.url or source_map.path)
            if source is not None:
                return self._with_map(url, source)
        found = self._at(url)
        source = next((artifact for artifact in found if artifact.type != "source_map"), None)
        return self._with_map(url, source) if source else Script(url)

    def _with_map(self, url: str, source: Artifact) -> Script:
        """A source whose map must be found by what the bundle or the source itself says."""
        reference = source.source_map or self._reference(source)
        if not reference:
            return Script(url, source)
        if reference.startswith("data:"):
            return Script(url, source, inline=True, map_url="inline")
        for base in filter(None, (source.url, url)):
            map_url = join(base, reference)
            found = _of_type(self._at(map_url), "source_map")
            if found is not None:
                return Script(url, source, found, map_url=found.url or map_url)
        return Script(url, source, missing_map=join(source.url or url, reference))

    def _reference(self, source: Artifact) -> str:
        """Where the source itself says that its map is. Raises FileFailed."""
        (reference,) = self.library.look_up(
            f"source:{source.digest}/{source.path}",
            ["reference"],
            lambda _: FindReference(self.library.file(source)),
            self.budget,
        )
        return str(reference)

    def _at(self, url: str) -> Sequence[Artifact]:
        if not self.release:
            return ()
        return self.library.artifacts_at(self.project_id, self.release, self.dist, candidates(url))

    # From tokens to frames

    def _replace(self, stack: Stack, urls: list[str | None], resolved: dict[str, Resolved]) -> None:
        frames = []
        call: str | None = None  # the name at the position of the frame before: what it calls
        for frame, url in zip(stack.frames, urls, strict=True):
            script = resolved[url] if url is not None else None
            token = script.tokens.get(_key(frame)) if script else None
            if script is None:
                frames.append(frame)
            elif token is None or token.source is None:
                frames.append(self._unresolved(frame, script))
            else:
                frames.append(self._resolved(frame, script.script, token, call))
            call = token.name if token else None
        stack.replace(frames)

    def _resolved(self, frame: Frame, script: Script, token: Token, call: str | None) -> Frame:
        assert token.source is not None
        made = with_status(frame, SYMBOLICATED, symbolicated=True, sourcemap=script.map_url[:256])
        path = source_url(script.url, token.source)
        minified = frame.get("function")
        function = function_name(token.function, call, minified)
        made["filename"] = source_name(token.source)[:1024]
        made["abs_path"] = path[:2048]
        made["lineno"], made["colno"] = token.line, token.column
        if function:
            made["function"] = function[:1024]
        if minified and minified != function:
            made.setdefault("raw_function", minified)
        made.pop("module", None)
        if module := module_name(token.source):
            made["module"] = module
        if is_library(token.source):
            made["in_app"] = False
        else:
            made.setdefault("in_app", True)
        return with_lines(made, token.context or self._lines(path, token.line))

    def _lines(self, url: str, line: int) -> Lines | None:
        """Lines of a source that was uploaded beside a map without contents."""
        source = next((a for a in self._at(url) if a.type != "source_map"), None)
        return self._source_lines(source, line) if source else None

    def _source_lines(self, source: Artifact, line: int) -> Lines | None:
        try:
            (lines,) = self.library.look_up(
                f"source:{source.digest}/{source.path}",
                [line],
                lambda unknown: ReadLines(self.library.file(source), unknown),
                self.budget,
            )
        except FileFailed as error:
            self._note(
                Resolved(Script(source.url or source.path), {}, error.failure.status, error.failure.detail)
            )
            return None
        return lines if isinstance(lines, Lines) else None

    def _unresolved(self, frame: Frame, resolved: Resolved) -> Frame:
        script = resolved.script
        if resolved.failure:
            self._note(resolved)
            return with_status(frame, resolved.failure)
        if script.missing_map:
            self.findings.error("js_no_source", script.missing_map)
            return with_status(frame, MISSING)
        if script.source is None and script.map is None:
            if "context_line" in frame:
                return frame  # the SDK sent the source itself, so it is probably the original one
            self.findings.error("js_no_source", script.url)
            return with_status(frame, MISSING)
        if script.map is None and not script.inline:
            assert script.source is not None
            lines = self._source_lines(script.source, frame["lineno"])  # not minified: it has no map
            return with_lines({**frame}, lines) if lines else frame
        kind = "js_invalid_sourcemap_location" if frame.get("colno") else "js_no_column"
        self.findings.error(kind, script.url, f"{frame['lineno']}:{frame.get('colno', '')}")
        return with_status(frame, NO_POSITION)

    def _note(self, resolved: Resolved) -> None:
        kind = _FAILURE_ERRORS.get(resolved.failure, "js_invalid_source")
        self.findings.error(kind, resolved.script.map_url or resolved.script.url, resolved.detail)


def _debug_ids(images: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Debug ids of scripts by their URL or path, in the spelling of `plain_url`."""
    found: dict[str, str] = {}
    for image in images:
        if image.get("type") == "sourcemap" and image.get("code_file") and image.get("debug_id"):
            try:
                found.setdefault(plain_url(image["code_file"]), normalize_debug_id(image["debug_id"]))
            except SymbolicError:
                continue  # no debug id: the script is looked up by its URL
    return found


def _of_type(artifacts: Iterable[Artifact], kind: str) -> Artifact | None:
    return next((artifact for artifact in artifacts if artifact.type == kind), None)


def _key(frame: Frame) -> Position:
    return frame["lineno"], frame.get("colno") or 0


def _position(frame: Frame) -> list[Position]:
    return [_key(frame)] if frame.get("colno") else []
