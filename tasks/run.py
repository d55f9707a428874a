"""One running flow's hold on the world: settings, database, store, its identity, its board and its lease.

Everything else in `tasks` is given a `Run`. It never travels to a worker or into the database.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType

import sql
from edits.catalogue import Catalogue
from edits.errors import BusyError
from edits.job import Marker
from edits.media.records import Check, Limits, Progress
from edits.settings import Settings, load_settings
from edits.storage import Store
from edits.trust import Trust
from tasks.catalogue import build_catalogue
from tasks.events import Events
from tasks.executor import Executor
from tasks.executors import check_executor, make_executor
from tasks.gpu_hours import GpuHours
from tasks.origin import origin
from tasks.progress import Board

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
"""How often the lease is renewed; an owner unseen for 60 s counts as dead."""


class Run:
    """Open it with `with`: the lease is kept alive inside and given back at the end."""

    def __init__(
        self,
        settings: Settings,
        trust: Trust,
        *,
        overwrite: bool = False,
        preview: str = "",
        max_gpu_hours: float | None = None,
    ) -> None:
        self.settings = settings
        self.trust = trust
        self.overwrite = overwrite
        """Replace a deliverable that is there and is not this job's."""
        self.preview = preview
        """Kind of preview that this run makes in place of deliverables, or empty."""
        self.store = Store(settings.store, endpoint_url=settings.endpoint_url)
        self.owner = sql.this_process()
        self.catalogue: Catalogue = build_catalogue(settings)
        self.board = Board()
        self.renew: dict[str, frozenset[int]] = {}
        """Chunk numbers, by job, that are to be edited again although they are done."""
        self.events = Events(settings)
        self.in_place_of = ""
        """Id of the changed job whose place this run's only job takes, or empty."""
        self.outputs: dict[str, int] = {}
        """Which line writes which output URI."""
        self.proven: set[tuple[str, str]] = set()
        """Kinds and digests of files that rows name beside their source and that are what they should be."""
        self.edited: dict[str, Marker] = {}
        """Markers that workers of this run's dispatches wrote, by chunk key."""
        self.checks: dict[str, tuple[Check, ...]] = {}
        """What was compared after stitching, by job."""
        self.gpu_hours = GpuHours(max_gpu_hours)
        """What this run may still dispatch."""
        self.cancelled = threading.Event()
        """Set when this whole run is asked to stop (Ctrl-C)."""
        self.stopped_by_limit = False
        """A limit of this run (GPU-hours, cost) was reached: what was not done is left for another."""
        self._closing = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="lease", daemon=True)
        self._locks: dict[str, threading.Lock] = {}
        self._locks_lock = threading.Lock()

    @cached_property
    def database(self) -> sql.Database:
        """For those who only ask: this run is not recorded in it."""
        return sql.open_database(self.settings.database, patience=self.settings.database_patience)

    @cached_property
    def db(self) -> sql.Database:
        """Opened when it is first asked for: planning needs none. What is recorded then points at this run."""
        db = self.database
        comes_from = origin(self.settings)
        sql.record_flow_run(db, self.owner, comes_from)
        self.events.flow_run_id = comes_from.flow_run_id
        return db

    @cached_property
    def executor(self) -> Executor:
        """Where this run's workers live; made when the first are needed."""
        return make_executor(self.settings)

    def __enter__(self) -> Run:
        LISTENERS.announce(self)
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        self._heart.join()
        if "executor" in self.__dict__:
            self.executor.close()
        if "database" in self.__dict__:
            self.database.close()

    @property
    def limits(self) -> Limits:
        """What decoding one file may cost."""
        settings = self.settings
        return Limits(
            max_pixels=settings.max_pixels,
            max_seconds=round(settings.max_duration_hours * 3600),
            memory_bytes=round(settings.memory_gib * 2**30),
        )

    @contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A folder of that name for files that may be lost at any time; removed at the end."""
        folder = self.settings.state_folder / "scratch" / f"{os.getpid()}-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def reporter(self, line: int, stage: str) -> Progress:
        """The row enters a stage; the result is its progress callback, which ends the stage when the run is cancelled.

        Raises:
            BusyError: by the callback, when this whole run is asked to stop.
        """
        report = self.board.reporter(line, stage)

        def checked(done: int, total: int) -> None:
            if self.cancelled.is_set():
                raise BusyError("interrupted; what is edited is kept")
            report(done, total)

        return checked

    def lock(self, name: str) -> threading.Lock:
        """The lock of that name, one a run: what two rows must not do at once (index one source) is done under it."""
        with self._locks_lock:
            return self._locks.setdefault(name, threading.Lock())

    def _beat(self) -> None:
        while not self._closing.wait(BEAT_SECONDS):
            if "db" not in self.__dict__:
                continue
            try:
                sql.beat(self.db, self.owner)
            except BusyError as error:
                log.warning("the lease could not be renewed, trying again: %s", error)


class Listeners:
    """Who wants to see a run from its start: the terminal's display, a test. Called with the `Run` as it opens."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Run], None]] = []

    def add(self, callback: Callable[[Run], None]) -> None:
        self._callbacks.append(callback)

    def remove(self, callback: Callable[[Run], None]) -> None:
        self._callbacks.remove(callback)

    def announce(self, run: Run) -> None:
        for callback in self._callbacks:
            callback(run)


LISTENERS = Listeners()


def open_run(
    folders: Iterable[Path],
    allow: Iterable[str] | None = None,
    *,
    overwrite: bool = False,
    preview: str = "none",
    max_gpu_hours: float | None = None,
    **overrides: object,
) -> Run:
    """A run with the settings of the current folder.

    `folders`, `allow` and the current folder may be read and written beside the roots that are set. `overrides` are
    settings by name; those that are None, empty or 0 are as if not given.

    Raises:
        SettingsError: a setting that cannot be used.
    """
    here = Path.cwd()
    given = {name: value for name, value in overrides.items() if value}
    settings = load_settings(here, os.environ, given)
    check_executor(settings)
    trust = trust_of(settings, folders, allow)
    kind = "" if preview == "none" else preview
    return Run(settings, trust, overwrite=overwrite, preview=kind, max_gpu_hours=max_gpu_hours)


def trust_of(settings: Settings, folders: Iterable[Path], allow: Iterable[str] | None = None) -> Trust:
    """What may be read and written with these settings: their roots, the current folder, `folders` and `allow`."""
    roots = settings.roots_with(Path.cwd(), *folders, *absolute_roots(allow))
    return Trust(roots, settings.schemes, settings.path_map)


def absolute_roots(allow: Iterable[str] | None) -> tuple[str | Path, ...]:
    """Folders as they were called from here, for whoever works elsewhere; bucket prefixes stay."""
    return tuple(root if "://" in root else Path(root).absolute() for root in allow or ())
