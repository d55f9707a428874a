"""One run over a library: what is there, what of it is to be done, and what became of that.

The files that a run takes on are marked in the database first, so that another run passes them over; what a run that
died had taken on is free at once.
"""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote_from_bytes

from prefect import task
from prefect.cache_policies import NO_CACHE

import sql
from edits.errors import BadRowError, PermanentError, SettingsError
from edits.job import JobState
from edits.keys import digest, sha256_of
from edits.library import LibraryFile, Listing, Order, Patterns, scan
from edits.manifest import ManifestRow, read_manifest, validate_rows
from edits.media.deliverables import DELIVERABLES
from edits.survey import TO_DO, Judged, Verdict, survey
from edits.trust import file_uri
from tasks.conclude import RowResult, Summary
from tasks.intake import source_file
from tasks.progress import JobProgress
from tasks.run import Run

FIRST_LINE = 2
"""Of a manifest's rows, below the header."""
FINISHED = frozenset({Verdict.DONE, Verdict.SAME})
SHOWN = 1000
"""Files that were passed over and are named in a result; the counts tell of all."""


@dataclass(frozen=True)
class Library:
    """What a run is asked to do."""

    root: str
    """Folder, `file:` or `s3:` URI."""
    mirror: str
    """Where results go: the library's folders are repeated below it."""
    style: dict[str, str]
    """Cells of a manifest's row, the same for every file: instruction, editor, and so on."""
    patterns: tuple[str, ...]
    unwanted: tuple[str, ...] = ()
    order: Order = Order.NEWEST
    max_videos: int = 100
    retry_failed: bool = False


@dataclass(frozen=True)
class Taken:
    """What a run has taken on, and what it passes over."""

    library: Library
    library_id: str
    root: str
    """Absolute URI."""
    mirror: str
    """Absolute URI."""
    listing: Listing
    files: tuple[Judged, ...]
    """To be done now, in order: row n of the manifest is file n."""
    passed_over: tuple[Judged, ...]
    seconds: float
    """Of looking."""

    def manifest(self) -> bytes:
        """The files as a manifest: the style's cells, with each one's source and folder of results."""
        text = io.StringIO(newline="")
        rows = csv.writer(text)
        rows.writerow(["source", "output", *self.library.style])
        for judged in self.files:
            output = f"{self.mirror.rstrip('/')}/{_folder(judged.file.folder, self.mirror)}"
            rows.writerow([judged.file.uri, output, *self.library.style.values()])
        return text.getvalue().encode()


@dataclass(frozen=True)
class FileResult:
    """What became of one file. Part of the `--json` output: fields are added, never renamed."""

    uri: str
    verdict: str
    why: str
    job_id: str
    state: str
    message: str
    output: str


@dataclass(frozen=True)
class LibraryResult:
    """What a run over a library did, skipped, and why."""

    library: str
    mirror: str
    seen: int
    matched: int
    counts: dict[str, int]
    """Files by verdict, of those that match."""
    files: tuple[FileResult, ...]
    """What was worked on, then what was passed over for another reason than being done."""
    unreadable: tuple[str, ...]
    scan_seconds: float
    summary: Summary | None
    """Of the run over the files taken on; None when there were none."""

    @property
    def failed(self) -> int:
        return self.summary.failed if self.summary else 0


# -- taking on --------------------------------------------------------------------------------------------------------


def take_on(run: Run, library: Library) -> Taken:
    """Look at the library and mark what this run will do.

    Raises:
        PermanentError: the style, the root or the mirror cannot be used; the message names the field.
    """
    began = time.monotonic()
    root = _place(run, "library", library.root)
    mirror = _place(run, "mirror", library.mirror)
    if mirror.rstrip("/") == root.rstrip("/"):
        raise SettingsError(
            "mirror: it is the library itself, whose next run would take results for new videos; name another folder"
        )
    row = _style_row(run, library, root, mirror)
    library_id = digest({"root": root, "mirror": mirror, "style": _style_key(run, row)})
    patterns = Patterns(library.patterns, library.unwanted)
    listing = scan(root, patterns, [mirror, file_uri(run.settings.state_folder)], run.settings.endpoint_url)
    known = sql.library_items(run.db, library_id, run.owner)
    judged = tuple(
        survey(
            listing.files,
            known,
            library.order,
            library.max_videos,
            lambda file: sha256_of(source_file(run, file.uri)),
            retry_failed=library.retry_failed,
        )
    )
    sql.touch_files(run.db, library_id, [each.file for each in judged if each.verdict is Verdict.SAME])
    to_do = [each for each in judged if each.verdict in TO_DO]
    claimed = sql.claim_files(run.db, library_id, [each.file for each in to_do], run.owner)
    lost = tuple(Judged(each.file, Verdict.ELSEWHERE) for each in to_do if each.file.uri not in claimed)
    return Taken(
        library=library,
        library_id=library_id,
        root=root,
        mirror=mirror,
        listing=listing,
        files=tuple(each for each in to_do if each.file.uri in claimed),
        passed_over=lost + tuple(each for each in judged if each.verdict not in TO_DO),
        seconds=time.monotonic() - began,
    )


def _place(run: Run, field: str, place: str) -> str:
    try:
        return run.trust.resolve(place, Path.cwd())
    except PermanentError as error:
        raise SettingsError(f"{field}: {error}") from error


def _style_row(run: Run, library: Library, root: str, mirror: str) -> ManifestRow:
    """The style as a row of a manifest, on a file that is only a name.

    Raises:
        BadRowError: the style asks for what is not there; each message names the column.
    """
    example = Judged(LibraryFile(f"{root.rstrip('/')}/example.mp4", "", 0, "", 0.0), Verdict.NEW)
    taken = Taken(library, "", root, mirror, Listing((), 0, ()), (example,), (), 0.0)
    manifest = read_manifest(taken.manifest(), "the style")
    rows, errors = validate_rows(manifest, run.catalogue, DELIVERABLES, run.settings, run.trust, Path.cwd())
    if errors:
        raise BadRowError(errors)
    return rows[0]


def _style_key(run: Run, row: ManifestRow) -> dict[str, object]:
    """What decides the deliverables: settings that are the same under another name make the same style."""
    card = run.catalogue[row.editor].weights[row.weights]
    sampling = row.sampling and [row.sampling.steps, row.sampling.guidance, row.sampling.shift]
    return {
        "instruction": row.instruction,
        "editor": [row.editor, card.editor_version],
        "weights": [row.weights, card.digest],
        "seed": row.seed,
        "sampling": sampling,
        "deliverable": row.deliverable,
        "detail": row.detail,
    }


def _folder(below: str, mirror: str) -> str:
    return below if mirror.startswith("s3:") else quote_from_bytes(below.encode(errors="surrogateescape"))


# -- afterwards -------------------------------------------------------------------------------------------------------


def settle(run: Run, taken: Taken) -> None:
    """Write down what became of the files; what was only stopped is left for the next run."""
    jobs = {job.line: job for job in run.board.snapshot().jobs}
    for line, judged in enumerate(taken.files, start=FIRST_LINE):
        job = jobs.get(line)
        facts = ("", "", "")
        if job is not None and job.ended and not _only_stopped(run, job):
            facts = (job.job_id, job.category, "" if job.job_id else job.message)
        sql.settle_file(run.db, taken.library_id, judged.file.uri, run.owner, *facts)


def _only_stopped(run: Run, job: JobProgress) -> bool:
    """Cancelled with its whole run, or never begun: nobody said that this file is not wanted."""
    whole_run = run.cancelled.is_set() or run.stopped_by_limit
    return job.state == JobState.PLANNED or (job.state == JobState.CANCELLED and whole_run)


def result_of(taken: Taken, summary: Summary | None) -> LibraryResult:
    """What a run did, skipped, and why."""
    rows = {row.line: row for row in summary.rows} if summary else {}
    worked = [_file_result(judged, rows.get(line)) for line, judged in enumerate(taken.files, start=FIRST_LINE)]
    others = [_file_result(judged, None) for judged in taken.passed_over if judged.verdict not in FINISHED]
    verdicts = Counter(str(judged.verdict) for judged in (*taken.files, *taken.passed_over))
    return LibraryResult(
        library=taken.root,
        mirror=taken.mirror,
        seen=taken.listing.seen,
        matched=len(taken.listing.files),
        counts={str(verdict): verdicts[verdict] for verdict in Verdict if verdicts[verdict]},
        files=(*worked, *others[:SHOWN]),
        unreadable=taken.listing.unreadable,
        scan_seconds=taken.seconds,
        summary=summary,
    )


def _file_result(judged: Judged, row: RowResult | None) -> FileResult:
    facts = (row.job_id, str(row.state), row.message, row.output) if row else ("", "", "", "")
    return FileResult(judged.file.uri, str(judged.verdict), judged.why, *facts)


@task(name="look-at-library", cache_policy=NO_CACHE)
def look_at_library(run: Run, library: Library) -> Taken:
    """`take_on` as a task run."""
    return take_on(run, library)
