"""The home directory: where everything of one installation lies, and the URLs that move it elsewhere."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks_pipeline.config import (
    Config,
    ConfigError,
    Key,
    Project,
    UnreadableConfig,
    default_config,
    parse_config,
)
from tasks_pipeline.config.loading import config_text
from tasks_pipeline.files import write_atomically

log = logging.getLogger(__name__)

HOME_VARIABLE = "TASKS_PIPELINE_HOME"
CONFIG_VARIABLE = "TASKS_PIPELINE_CONFIG"
DATABASE_VARIABLE = "TASKS_PIPELINE_DATABASE_URL"
DAGSTER_DATABASE_VARIABLE = "TASKS_PIPELINE_DAGSTER_DATABASE_URL"
DATA_VARIABLE = "TASKS_PIPELINE_DATA_URL"
MIGRATES_VARIABLE = "TASKS_PIPELINE_MIGRATES"
BROKER_VARIABLE = "TASKS_PIPELINE_BROKER"
BROKERS = ("redis", "rediss", "amqp", "amqps")
CONFIG_COPY = "config-in-force.yaml"
DELETED_PROJECTS = "deleted-projects"
"""File with the numbers of projects that were deleted."""
ARCHIVES = "archives"
"""File with the places where something was ever archived."""
_DEFAULTS_COPY = """\
# There is no configuration file: these are the defaults.
projects:
  - {id: 1, slug: shop, name: Shop, keys: [{public_key: "%s"}]}
"""


Stamp = tuple[int, int, int]
"""What changes when a file or its permissions do: time of that change, size, and number of the file."""


@dataclass(frozen=True, slots=True)
class InForce:
    """The configuration that background work goes by. `mistakes` says why it is not what the file holds; else it is empty."""

    config: Config
    mistakes: str
    stamp: Stamp | None
    settled: bool = True
    """Whether nothing else can be found before the file changes; false when the reading itself failed."""


_in_force: dict[Path, InForce] = {}
"""What was read last, by file."""
_told: dict[Path, str] = {}
"""The mistakes that whoever only looks was told of, by file."""


def _default_root() -> Path:
    return Path.home() / ".tasks-pipeline"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths and URLs of an installation.

    `root` holds everything of an embedded installation. `database_url` is empty (SQLite below root) or a
    `postgresql://` URL that takes spool, catalog, state and Dagster's own storage. `data_url` is empty (folders
    below root), the path of another folder, or a URL of object storage (`s3://bucket/prefix`) that takes lake files and blobs.
    `dagster_database_url` leads to Dagster's own storage by another way than `database_url`, a pooler. A process whose home does not
    say `migrates` refuses a state database of an older version instead of bringing it to its own. `broker_url` is empty (the code
    server carries runs out) or that of a broker from whose queues workers take them.
    """

    root: Path
    database_url: str = ""
    data_url: str = ""
    config_override: Path | None = None
    migrates: bool = True
    dagster_database_url: str = ""
    broker_url: str = ""

    @classmethod
    def resolve(cls, root: str | Path | None = None, *, create: bool = True) -> Home:
        """The home named by the argument, else by the environment, else `~/.tasks-pipeline`; it is created unless not to be."""
        chosen = Path(root or os.environ.get(HOME_VARIABLE) or _default_root()).expanduser().resolve()
        override = os.environ.get(CONFIG_VARIABLE)
        home = cls(
            root=chosen,
            database_url=os.environ.get(DATABASE_VARIABLE, ""),
            data_url=_folder_or_url(os.environ.get(DATA_VARIABLE, "")),
            dagster_database_url=os.environ.get(DAGSTER_DATABASE_VARIABLE, ""),
            config_override=Path(override).expanduser().resolve() if override else None,
            migrates=os.environ.get(MIGRATES_VARIABLE) != "no",
            broker_url=os.environ.get(BROKER_VARIABLE, ""),
        )
        if create:
            home.make_root()
        return home

    def make_root(self) -> None:
        """Create the folder of the home, where it is not there."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def is_default(self) -> bool:
        """Whether a command that names no home finds this one."""
        return self.root == _default_root().resolve()

    @property
    def embedded(self) -> bool:
        """Whether the databases are SQLite files below root."""
        return not self.database_url

    @property
    def far(self) -> bool:
        """Whether lake files and blobs are in object storage, and not in folders."""
        return "://" in self.data_url

    @property
    def config_path(self) -> Path:
        """The configuration file; it need not exist."""
        return self.config_override or self.root / "tasks_pipeline.yaml"

    @property
    def spool_dir(self) -> Path:
        """Folder of the embedded spool."""
        return self.root / "spool"

    @property
    def state_url(self) -> str:
        """SQLAlchemy URL of the state database."""
        if self.embedded:
            return f"sqlite:///{self.root / 'state.sqlite'}"
        return self.postgres_url

    @property
    def postgres_url(self) -> str:
        """The database URL with its driver named: plain `postgresql://` changes meaning between SQLAlchemy versions."""
        scheme, _, rest = self.database_url.partition("://")
        if scheme not in ("postgres", "postgresql", "postgresql+psycopg2") or not rest:
            raise ValueError(
                f"{DATABASE_VARIABLE}: found {scheme!r}, allowed is postgresql://user:password@host:port/database"
            )
        return f"postgresql+psycopg2://{rest}"

    @property
    def queued(self) -> bool:
        """Whether runs wait in the queues of a broker for workers. Raises ValueError on a URL that is none of a broker."""
        scheme = self.broker_url.partition("://")[0]
        if self.broker_url and scheme not in BROKERS:
            raise ValueError(
                f"{BROKER_VARIABLE}: found {scheme[:20]!r}, allowed are {', '.join(f'{known}://' for known in BROKERS)}"
            )
        return bool(self.broker_url)

    @property
    def lake_catalog(self) -> Path:
        """SQLite file of the embedded lake catalog."""
        return self.root / "lake" / "catalog.sqlite"

    @property
    def lake_files(self) -> str:
        """Folder or URL of the lake's Parquet files."""
        return f"{self.data_url.rstrip('/')}/lake" if self.data_url else str(self.root / "lake" / "files")

    @property
    def blobs_url(self) -> str:
        """Folder or URL of the blobs."""
        return f"{self.data_url.rstrip('/')}/blobs" if self.data_url else str(self.root / "blobs")

    @property
    def chunks_url(self) -> str:
        """Folder or URL of pieces of uploads; apart from the blobs, so that dropping them never takes a blob along."""
        return (
            f"{self.data_url.rstrip('/')}/upload-chunks"
            if self.data_url
            else str(self.root / "upload-chunks")
        )

    @property
    def raw_url(self) -> str:
        """Folder or URL of raw envelopes of finished days that were moved out of Postgres."""
        return f"{self.data_url.rstrip('/')}/raw" if self.data_url else str(self.root / "raw")

    @property
    def cache_dir(self) -> Path:
        """What can be made again: it may be deleted at any time."""
        return self.root / "cache"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME."""
        return self.root / "dagster"

    @property
    def certificates_dir(self) -> Path:
        """Certificates of deletions that a person asked for: all of an installation whose files lie in its home."""
        return self.root / "certificates"

    @property
    def certificates_places(self) -> tuple[str, ...]:
        """Folders and URLs of certificates: the first is that of all hosts and takes new ones, in others are earlier ones."""
        shared = (f"{self.data_url.rstrip('/')}/certificates",) if self.data_url else ()
        return (*shared, str(self.certificates_dir))

    @property
    def logs_dir(self) -> Path:
        """Log files of the supervised processes."""
        return self.root / "logs"

    @property
    def run_dir(self) -> Path:
        """Locks, ports and pids of what runs now."""
        return self.root / "run"

    def environment(self) -> dict[str, str]:
        """Variables that hand this home to a child process."""
        variables = {HOME_VARIABLE: str(self.root), "DAGSTER_HOME": str(self.dagster_home)}
        if self.database_url:
            variables[DATABASE_VARIABLE] = self.database_url
        if self.dagster_database_url:
            variables[DAGSTER_DATABASE_VARIABLE] = self.dagster_database_url
        if self.data_url:
            variables[DATA_VARIABLE] = self.data_url
        if self.broker_url:
            variables[BROKER_VARIABLE] = self.broker_url
        if self.config_override:
            variables[CONFIG_VARIABLE] = str(self.config_override)
        if not self.migrates:
            variables[MIGRATES_VARIABLE] = "no"
        return variables

    def config(self) -> Config:
        """The configuration file, or the working default with a key made once for this home. Raises ConfigError."""
        if self.has_config:
            return self.read_config(self.config_path)
        return default_config(self._default_key())

    def read_config(self, path: Path, *, to_look: bool = False, look_at_files: bool = False) -> Config:
        """A configuration file as this home would take it; with `look_at_files` those it names must be there. Raises ConfigError."""
        return self._parsed(config_text(path), path, to_look=to_look, look_at_files=look_at_files)

    def deleted_projects(self) -> dict[int, str]:
        """Numbers of projects that were deleted, with the day: none may have them again. The state database knows them too; who reads the
        configuration need not open that."""
        try:
            lines = (self.root / DELETED_PROJECTS).read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise UnreadableConfig(f"{self.root / DELETED_PROJECTS} cannot be read: {error}") from error
        found = (line.split() for line in lines)
        return {int(words[0]): words[1] for words in found if len(words) == 2 and words[0].isdecimal()}

    def note_deleted_project(self, project_id: int, day: str) -> None:
        """Remember such a number; doing it again changes nothing."""
        known = self.deleted_projects()
        if project_id not in known:
            lines = [f"{number} {on}\n" for number, on in sorted((known | {project_id: day}).items())]
            write_atomically(self.root / DELETED_PROJECTS, "".join(lines))

    def holding(self, place: str) -> str:
        """Which of its stores a folder or URL lies within, by whichever way it is named; empty for one that is apart."""
        folder, data = _folder(place), self.data_url.rstrip("/")
        if folder is None:
            is_within = bool(data) and f"{place.rstrip('/')}/".startswith(f"{data}/")
            return f"the object storage of the home ({DATA_VARIABLE})" if is_within else ""
        if folder.is_relative_to(self.root.resolve()):
            return f"the home {self.root}"
        of_data = _folder(data) if data else None
        return (
            f"the files of the home ({DATA_VARIABLE})" if of_data and folder.is_relative_to(of_data) else ""
        )

    def archives(self) -> list[str]:
        """Where something was ever archived, in order: who has to look there has to know, also when the configuration names it no more."""
        try:
            lines = (self.root / ARCHIVES).read_text(encoding="utf-8").split("\n")
        except FileNotFoundError:
            return []
        return [line for line in lines if line]

    def note_archive(self, url: str) -> None:
        """Remember such a place; doing it again changes nothing."""
        known = self.archives()
        if url not in known:
            write_atomically(self.root / ARCHIVES, "".join(f"{each}\n" for each in sorted({*known, url})))

    def config_to_look(self) -> InForce:
        """The configuration for whoever looks or decides and sends nothing: variables that are not set here are no mistakes.

        An engineer's shell has none of the service's secrets. While the file is broken, what it held before. Raises ConfigError
        when it never was good.
        """
        if not self.has_config:
            return self.config_in_force()
        try:
            found = InForce(self.read_config(self.config_path, to_look=True), "", None)
        except ConfigError as error:
            found = self._config_of_before(error, None, None, to_look=True)
            if _told.get(self.config_path) != found.mistakes:
                log.error("what the configuration held before stays in force:\n%s", error)  # noqa: TRY400 - the message is whole
        _told[self.config_path] = found.mistakes
        return found

    def _parsed(self, text: str, path: Path, *, to_look: bool = False, look_at_files: bool = False) -> Config:
        def projects() -> Sequence[Project]:
            return default_config(self._default_key()).projects

        return parse_config(
            text,
            str(path),
            projects=projects,
            to_look=to_look,
            used_up=self.deleted_projects(),
            folder=self.config_path.parent,
            look_at_files=look_at_files,
            within=self.holding,
        )

    @property
    def has_config(self) -> bool:
        """Whether a configuration file is named or there; one that leads nowhere is not the same as none."""
        if self.config_override:
            return True
        try:
            self.config_path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # that it cannot be looked at is said when it is read
        return True

    def config_in_force(self) -> InForce:
        """The configuration or, while its file is broken or gone, what it held when it was last good.

        So a slip of the editor stops no work that is under way. Raises ConfigError when it never was good.
        """
        stamp = self.config_stamp()
        known = _in_force.get(self.config_path)
        if known is not None and known.stamp == stamp and known.settled:
            return known  # a sensor asks every second
        try:
            found = InForce(self._config_of_now(), "", stamp)
        except ConfigError as error:
            found = self._config_of_before(error, known, stamp)
            if known is None or known.mistakes != found.mistakes:
                log.error("what the configuration held before stays in force:\n%s", error)  # noqa: TRY400 - the message is whole
        _in_force[self.config_path] = found
        return found

    def _config_of_now(self) -> Config:
        """What the file holds, or the defaults where there never was one; kept for later. Raises ConfigError."""
        if self.has_config:
            text = config_text(self.config_path)
        else:
            text = _DEFAULTS_COPY % self._default_key()
            if os.path.lexists(self.root / CONFIG_COPY) and self._kept() != text:
                raise ConfigError(f"{self.config_path} is gone")
        config = self._parsed(text, self.config_path)
        try:
            write_atomically(self.root / CONFIG_COPY, text)
        except OSError as error:
            # A full disk must not keep a good configuration from being used.
            log.warning("the configuration could not be kept in %s: %s", CONFIG_COPY, error)
        return config

    def _kept(self) -> str:
        """The text that was in force last; empty when it cannot be read."""
        try:
            return config_text(self.root / CONFIG_COPY)
        except UnreadableConfig:
            return ""

    def _config_of_before(
        self, error: ConfigError, known: InForce | None, stamp: Stamp | None, *, to_look: bool = False
    ) -> InForce:
        """What was in force before the error: as it was kept, else as this process knows it. Raises the error."""
        settled = not isinstance(error, UnreadableConfig)
        if os.path.lexists(self.root / CONFIG_COPY):
            try:
                kept = self.read_config(self.root / CONFIG_COPY, to_look=to_look)
                return InForce(kept, str(error), stamp, settled)
            except ConfigError as unusable:
                log.error("what the configuration held before cannot be used either:\n%s", unusable)  # noqa: TRY400 - as above
        if known is None:
            raise error
        return InForce(known.config, str(error), stamp, settled)

    def forget_config(self) -> None:
        """Forget what the configuration held before: a service that starts goes by the file, or refuses to."""
        (self.root / CONFIG_COPY).unlink(missing_ok=True)
        _in_force.pop(self.config_path, None)

    def config_stamp(self) -> Stamp | None:
        """Changes when the configuration file does; None without a file, zeros for one that leads nowhere."""
        try:
            found = self.config_path.stat()
        except OSError:
            return (0, 0, 0) if self.has_config else None
        return found.st_ctime_ns, found.st_size, found.st_ino

    def _default_key(self) -> str:
        path = self.root / "default-key"
        if not path.exists():
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = path.with_name(f".default-key-{secrets.token_hex(4)}")
            temporary.write_text(secrets.token_hex(16))
            try:
                os.link(temporary, path)  # the first of several processes wins
            except FileExistsError:
                pass
            finally:
                temporary.unlink()
        return path.read_text().strip()


def dsn(base_url: str, project: Project, key: Key) -> str:
    """The DSN that clients of a project use, for a receiver reachable at `base_url` (http://host:port)."""
    scheme, _, rest = base_url.rstrip("/").partition("://")
    return f"{scheme}://{key.public_key}@{rest}/{project.id}"


def _folder_or_url(place: str) -> str:
    """A folder by its whole path, also when it is named as a URL; a URL without the slash at its end."""
    if not place:
        return ""
    folder = _folder(place)
    return place.rstrip("/") if folder is None else str(folder)


def _folder(place: str) -> Path | None:
    """The folder that a path or URL names, behind all links; None for object storage."""
    scheme, is_url, path = place.rpartition("::")[2].partition("://")
    if not is_url:
        return Path(place).expanduser().resolve()
    return Path(path).resolve() if scheme in ("file", "local") else None
