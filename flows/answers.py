"""Answers of the database as tables for people, and how a file on disk becomes a question."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import sql
from edits.errors import PermanentError, SourceError
from edits.job import JobState
from edits.keys import sha256_of
from edits.lineage import Lineage
from edits.media import child
from edits.trust import file_uri, readable
from edits.wording import counted
from flows.results import out
from flows.status import styled
from flows.units import duration

if TYPE_CHECKING:
    from tasks.reproduce import Reproduction

err = Console(stderr=True)

SHOWN = 50
"""Lines of a long table; `--json` has all."""

WAITING = frozenset({JobState.PLANNED, JobState.QUEUED, JobState.AWAITING_REVIEW})
"""States in which a job waits for something else than its own work."""


# -- lineage ----------------------------------------------------------------------------------------------------------


def find(db: sql.Database, what: str) -> Lineage:
    """The lineage of a file, found by its bytes or else by its video packets, or of a job.

    Raises:
        PermanentError: neither a file nor the form of a job id, or not recorded.
    """
    path = Path(what)
    if path.is_file():
        return sql.lineage_of(db, recorded_digest(db, path))
    if re.fullmatch(r"[0-9a-f]{4,64}", what):
        return sql.lineage_of(db, what)
    raise PermanentError(f"{what}: no such file, and not a job id. `samaflow status` lists jobs.")


def lineages(db: sql.Database, names: Sequence[str]) -> Iterator[Lineage]:
    """Of these files and jobs, or of every deliverable there ever was."""
    if names:
        yield from (find(db, name) for name in names)
        return
    for artifact_id in sql.delivered_files(db):
        yield sql.lineage_of_file(db, artifact_id)


def recorded_digest(db: sql.Database, path: Path) -> str:
    """The digest under which this file's film is recorded: the file's own, unless only its wrapping was changed."""
    own = sha256_of(path)
    if sql.artifact_by_digest(db, own) is not None:
        return own
    try:
        streams = child.run("packets", path)
    except SourceError:
        return own  # no video: its bytes are all there is to look for
    recorded = sql.file_with_stream(db, [stream.sha256 for stream in streams if stream.kind == "video"])
    if recorded is None:
        return own
    err.print(
        f"{escape(str(path))}: found by its video packets; the file around them was changed since", soft_wrap=True
    )
    return recorded


def digest_of_source(db: sql.Database, source: str) -> str:
    """The source that a path, a URI or a digest means: a file that is here is found by its bytes, also as a copy."""
    path = Path(source)
    if not path.is_file():
        return sql.source_digest(db, source)
    try:
        return sql.source_digest(db, file_uri(path.resolve()))
    except PermanentError:
        return sql.source_digest(db, sha256_of(path))


def show_lineage(lineage: Lineage) -> None:
    """Print what a deliverable was made from, one fact a line, then its chunks."""
    for name, value in _facts(lineage):
        out.print(f"{name:>16}  {escape(value)}", soft_wrap=True, highlight=False)
    table = Table("frames", "chunk", "sha256", "seed", "device", box=None, pad_edge=False)
    for chunk in lineage.chunks:
        cells = (f"{chunk.start}-{chunk.end - 1}", chunk.chunk_key, chunk.sha256[:16], str(chunk.seed), chunk.device)
        table.add_row(*cells)
    out.print(table)


def _facts(lineage: Lineage) -> Iterator[tuple[str, str]]:
    job = lineage.job
    yield "deliverable", f"{readable(lineage.uri)} ({lineage.state})"
    yield "sha256", lineage.sha256
    yield "recorded", lineage.recorded_at
    yield "job", f"{job.job_id}, line {job.line} of manifest {job.manifest_id}"
    yield "source", readable(lineage.source.uri)
    yield "source sha256", lineage.source.sha256
    if lineage.source.made_by:
        yield "source made by", f"job {lineage.source.made_by}, whose deliverable it is"
    yield "frames", f"{job.start}-{job.end - 1} of {lineage.source.frames}"
    yield "instruction", job.instruction
    yield "editor", f"{job.editor} {lineage.plan.editor_version}" if lineage.plan else job.editor
    yield "weights", f"{job.weights} {job.weights_digest}".strip()
    for heading, values in (
        ("converted by", {chunk.converter for chunk in lineage.chunks}),
        ("LoRA", {chunk.loras for chunk in lineage.chunks}),
    ):
        yield from ((heading, value) for value in sorted(values) if value)
    if job.sampling is not None:
        recipe = job.sampling
        steps = f"{recipe.steps} steps, guidance {recipe.guidance:g}, shift {recipe.shift:g}"
        yield "sampling", f"{steps}, seed {job.seed}"
    if rough := tuple(_given_up(lineage)):
        yield "approximate", "; ".join(rough)
    yield "form", f"{job.deliverable}, detail {job.detail}"
    yield "encoding", lineage.encoding
    yield "code", lineage.code_version
    if lineage.origin is not None:
        yield "submitted by", f"{lineage.origin.submitted_by}, flow run {lineage.origin.flow_run_id or 'none'}"
        yield "installed", f"lock {lineage.origin.lock_digest}"
        yield "image", lineage.origin.image_digest or "none"
    yield from (("worker image", image) for image in lineage.worker_images)
    yield "credentials", lineage.credentials or "none"
    for review in lineage.reviews:
        said = "; ".join(filter(None, (review.changes, review.reason)))
        verdict = "changed" if review.changes else review.decision
        yield verdict, f"by {review.reviewer}, {review.at}" + (f": {said}" if said else "")


def _given_up(lineage: Lineage) -> Iterator[str]:
    """What is not as the weights were released with."""
    recipe = lineage.job.sampling
    if recipe is not None and recipe.guided < 1:
        yield f"guidance in the first {recipe.guided:.0%} of the steps only"
    if recipe is not None and recipe.step_cache:
        yield f"steps that drift by less than {recipe.step_cache:g} take the one before"
    if lineage.plan is not None:
        yield from lineage.plan.numerics.split("+")[1:]


def show_files(files: Sequence[sql.MadeFile]) -> None:
    """Print jobs and what they delivered."""
    table = Table("job", "state", "generation", "editor", "project", "sha256", "deliverable", box=None, pad_edge=False)
    for file in files[:SHOWN]:
        words = (file.editor, escape(file.project), file.sha256[:16] or "-", escape(readable(file.uri)))
        table.add_row(file.job_id, styled(file.state), str(file.generation), *words)
    out.print(table)
    _say_rest(len(files), "jobs and deliverables")


def show_recall(recall: sql.Recall) -> None:
    """Print the versions of a model, then all that they touched."""
    table = Table("editor", "version", "weights", "digest", "converter", "LoRAs", box=None, pad_edge=False)
    for line in recall.models:
        table.add_row(line.editor, line.editor_version, line.weights, line.digest[:16], line.converter, line.loras)
    out.print(table)
    out.print(counted(recall.chunks, "chunk"))
    show_files(recall.files)


def _say_rest(count: int, what: str) -> None:
    more = f"; the first {SHOWN} are shown, --json has all" if count > SHOWN else ""
    out.print(f"{count} {what}{more}")


# -- sums -------------------------------------------------------------------------------------------------------------


def show_usage(lines: Sequence[sql.UsageLine], groups: Sequence[str]) -> None:
    """Print hours and cost by group, then the sum."""
    table = Table(*groups, box=None, pad_edge=False)
    for heading in ("chunks", "GPU-hours", "cost"):
        table.add_column(heading, justify="right")
    for line in lines:
        words = [escape(getattr(line, group)) or "-" for group in groups]
        table.add_row(*words, str(line.chunks), f"{line.gpu_hours:.3f}", f"{line.cost:.2f} {line.currency}")
    out.print(table)
    out.print(", ".join([f"{sum(line.gpu_hours for line in lines):.3f} GPU-hours", *_amounts(lines)]))


def _amounts(lines: Sequence[sql.UsageLine]) -> Iterator[str]:
    for currency in sorted({line.currency for line in lines if line.cost}):
        yield f"{sum(line.cost for line in lines if line.currency == currency):.2f} {currency}"


def show_failures(causes: Sequence[sql.FailureCause]) -> None:
    """Print causes, the most frequent first."""
    table = Table("of", "cause", "editor", "count", "failed now", "last (UTC)", "for example", box=None, pad_edge=False)
    for cause in causes:
        last = f"{cause.last_at:%Y-%m-%d %H:%M}"
        now = str(cause.standing) if cause.subject == "job" else "-"
        words = (cause.subject, cause.category or "-", cause.editor, str(cause.count), now, last)
        table.add_row(*words, escape(f"{cause.example_id}: {cause.example}"))
    out.print(table)
    out.print(f"{sum(cause.count for cause in causes)} failures")


def show_times(lines: Sequence[sql.StateTime]) -> None:
    """Print where the time of all jobs went."""
    whole = sum(line.seconds for line in lines) or 1.0
    table = Table("state", box=None, pad_edge=False)
    for heading in ("jobs", "share", "a job", "longest", "in all"):
        table.add_column(heading, justify="right")
    for line in lines:
        state = f"{line.state} (waiting)" if line.state in WAITING else str(line.state)
        spent = (duration(line.mean), duration(line.longest), duration(line.seconds))
        table.add_row(state, str(line.jobs), f"{line.seconds / whole:.0%}", *spent)
    out.print(table)
    waited = sum(line.seconds for line in lines if line.state in WAITING)
    out.print(f"{waited / whole:.0%} of the time was spent waiting")


def show_stuck(found: sql.Stuck) -> None:
    """Print what does not get on, and why."""
    table = Table("job", "state", "project", "nothing for", "why", box=None, pad_edge=False)
    for job in found.jobs[:SHOWN]:
        table.add_row(job.job_id, styled(job.state), escape(job.project), duration(job.idle_seconds), job.why)
    if found.jobs:
        out.print(table)
    held = Table("dispatch", "state", "editor", "chunks", "rounds", "silent for", box=None, pad_edge=False)
    for dispatch in found.dispatches[:SHOWN]:
        words = (dispatch.state, f"{dispatch.editor}/{dispatch.weights}", str(dispatch.chunks), str(dispatch.rounds))
        held.add_row(dispatch.dispatch_id, *words, duration(dispatch.silent_seconds))
    if found.dispatches:
        out.print(held)
    out.print(f"{len(found.jobs)} jobs and {len(found.dispatches)} dispatches are stuck")


def show_reproduction(found: Reproduction) -> None:
    """Print the verdict first, then what may explain it."""
    verdict = "[green]identical[/]" if found.identical else "[red]not identical[/]"
    out.print(f"{verdict}: {escape(readable(found.again))} against {escape(readable(found.recorded))}", soft_wrap=True)
    if found.chunks:
        out.print(f"chunks that came out other: frames {', '.join(found.chunks[:SHOWN])}")
    for heading, differences in (("packets", found.streams), ("otherwise now", found.differences)):
        for difference in differences:
            said = f"{heading}: {difference.what}: {difference.recorded or 'none'} -> {difference.now or 'none'}"
            out.print(escape(said), soft_wrap=True, highlight=False)
