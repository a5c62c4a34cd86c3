"""PgBouncer as deploy/pgbouncer.ini has it, before a database of a test: on a free port, gone at the end."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2

from tests.support.postgres import _account, _free_port
from tests.support.waiting import wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"
ROLE = "tasks_pipeline_dagster"


class PoolerMissing(Exception):
    """No PgBouncer is installed here."""


@contextmanager
def running_pooler(url: str) -> Iterator[str]:
    """The URL of Dagster's storage through a pooler before a database of a server that trusts everybody. Its role is made by
    deploy/pgbouncer.sql and gone at the end. Raises PoolerMissing."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        raise PoolerMissing("no pgbouncer in PATH or /usr/sbin: install the pgbouncer package")
    port, database = _free_port(), urlsplit(url).path[1:]
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="tasks-pipeline-pgbouncer-"))
    try:
        (folder / "userlist.txt").write_text(f'"{ROLE}" ""\n')
        (folder / "pgbouncer.ini").write_text(_settings(url, port, folder))
        if account:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, account)
        with _role(url, database), _running([program, folder / "pgbouncer.ini"], account):
            through = f"postgresql://{ROLE}@127.0.0.1:{port}/{ROLE}"
            wait_for("the pooler answers", lambda: _answers(through))
            yield through
    finally:
        shutil.rmtree(folder)


def _settings(url: str, port: int, folder: Path) -> str:
    """The file of deploy/, but for where things are and that everybody is trusted."""
    parser = configparser.ConfigParser()
    parser.read(DEPLOY / "pgbouncer.ini")
    server = urlsplit(url)
    parser["databases"][ROLE] = (
        parser["databases"][ROLE]
        .replace("port=5432", f"port={server.port}")
        .replace("dbname=tasks_pipeline ", f"dbname={server.path[1:]} ")
    )
    own = {
        "listen_port": str(port), "auth_type": "trust", "auth_file": str(folder / "userlist.txt"), "unix_socket_dir": "",
    }  # fmt: skip
    parser["pgbouncer"].update(own)
    with (folder / "all.ini").open("w+") as file:
        parser.write(file)
        file.seek(0)
        return file.read()


@contextmanager
def _role(url: str, database: str) -> Iterator[None]:
    statements = (DEPLOY / "pgbouncer.sql").read_text()
    owner = urlsplit(url).username or ""
    here = statements.replace("DATABASE tasks_pipeline ", f"DATABASE {database} ")
    here = here.replace("ROLE tasks_pipeline;", f"ROLE {owner};").replace(
        "role = tasks_pipeline;", f"role = {owner};"
    )
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(here)
            try:
                yield
            finally:
                cursor.execute(f"DROP ROLE {ROLE}")


@contextmanager
def _running(command: list[str | Path], account: str | None) -> Iterator[None]:
    process = subprocess.Popen(
        command, user=account, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={"PATH": os.environ.get("PATH", os.defpath)},
    )  # fmt: skip
    try:
        yield
    finally:
        process.kill()  # as it is asked to end it waits for its clients
        process.wait(timeout=60)


def _answers(url: str) -> bool:
    try:
        psycopg2.connect(url, connect_timeout=5).close()
    except psycopg2.OperationalError:
        return False
    return True
