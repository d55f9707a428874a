"""The questions that people ask of a library, answered from the views. Reads only."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, date, datetime, time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from edits.errors import PermanentError
from edits.job import JobState
from sql.answers import (
    FailureCause,
    MadeFile,
    ModelLine,
    Recall,
    StateTime,
    Stuck,
    StuckDispatch,
    StuckJob,
    UsageLine,
)
from sql.base import UtcDateTime
from sql.models import JOB_STATE, Artifact, Chunk, Job, JobModel, ModelVersion, Source
from sql.owners import STALE_SECONDS
from sql.patience import patient
from sql.records import ArtifactKind
from sql.session import Database

GROUPS = ("day", "project", "editor")
"""What usage can be grouped by."""

IDLE_SECONDS = 6 * 3600.0
"""A job in which nothing happened for this long may be stuck even if its flow lives."""

GENERATIONS = 50
"""How many deliverables of deliverables are followed: an end also for files that are their own source."""


def _view(name: str, *columns: str, **typed: Any) -> sa.TableClause:
    return sa.table(name, *map(sa.column, columns), *(sa.column(column, kind) for column, kind in typed.items()))


_FROM_SOURCE = _view(
    "made_from_source",
    *("job_id", "project", "editor", "source_sha256", "uri", "sha256"),
    state=JOB_STATE,
    recorded_at=UtcDateTime(),
)
_USAGE = _view("gpu_usage", "project", "editor", "currency", "chunks", "gpu_seconds", "cost", day=sa.Date())
_FAILURE = _view(
    "failure_cause",
    *("subject", "subject_id", "category", "editor", "message", "standing"),
    failed_at=UtcDateTime(),
)
_STAY = _view("time_in_state", "job_id", "project", "seconds", state=JOB_STATE, entered_at=UtcDateTime())
_JOB = _view(
    "stuck_job",
    *("job_id", "project", "editor", "idle_seconds", "silent_seconds", "cancel_seconds"),
    state=JOB_STATE,
    updated_at=UtcDateTime(),
)
_DISPATCH = _view(
    "stuck_dispatch",
    *("dispatch_id", "state", "editor", "weights", "rounds", "chunks", "silent_seconds"),
    created_at=UtcDateTime(),
)


# -- forwards: what was made of it ------------------------------------------------------------------------------------


@patient
def source_digest(db: Database, what: str) -> str:
    """The sha256 of the source at this URI or with this digest.

    Raises:
        PermanentError: no such source is recorded.
    """
    with db.read() as session:
        if re.fullmatch("[0-9a-f]{64}", what) and session.get(Source, what) is not None:
            return what
        at = sa.select(Artifact.sha256).where(Artifact.uri == what, Artifact.kind == ArtifactKind.SOURCE)
        found = session.scalars(at.order_by(Artifact.recorded_at.desc()).limit(1)).first()
    if found is None:
        raise PermanentError(f"{what}: no such source is recorded. Give its URI, its sha256, or the file.")
    return found


@patient
def made_from(db: Database, source_sha256: str) -> tuple[MadeFile, ...]:
    """Every job on the source, on what was made from it, and so on, with what each delivered: the first generation
    first, in each the newest deliverable first, then what made none."""
    first = sa.select(Job.job_id, sa.literal(1).label("generation")).where(Job.source_sha256 == source_sha256)
    with db.read() as session:
        return _made(session, first)


@patient
def touched_by(db: Database, model: str) -> Recall:
    """Everything that was planned for a model (`editor`, `editor/weights`, or the beginning of a weights digest) or
    made from what such jobs delivered, in the order of `made_from`.

    Raises:
        PermanentError: no such model is recorded.
    """
    with db.read() as session:
        versions = list(session.scalars(_versions(model)))
        if not versions:
            known = sorted(f"{row.editor}/{row.weights}" for row in session.scalars(sa.select(ModelVersion)))
            raise PermanentError(f"no model {model!r} is recorded. Known: {', '.join(dict.fromkeys(known)) or 'none'}.")
        ids = [row.model_version_id for row in versions]
        chunks = session.scalar(sa.select(sa.func.count()).select_from(Chunk).where(Chunk.model_version_id.in_(ids)))
        first = sa.select(JobModel.job_id, sa.literal(1).label("generation")).where(JobModel.model_version_id.in_(ids))
        return Recall(tuple(_line(row) for row in versions), chunks or 0, _made(session, first))


def _versions(model: str) -> sa.Select[tuple[ModelVersion]]:
    query = sa.select(ModelVersion).order_by(ModelVersion.model_version_id)
    if re.fullmatch("[0-9a-f]{8,64}", model):
        # 'g' follows every hex digit: a range uses the index on both databases.
        return query.where(ModelVersion.digest >= model, ModelVersion.digest < model + "g")
    editor, _, weights = model.partition("/")
    query = query.where(ModelVersion.editor == editor)
    return query.where(ModelVersion.weights == weights) if weights else query


def _line(row: ModelVersion) -> ModelLine:
    facts = (row.editor, row.editor_version, row.weights, row.digest, row.converter, row.loras)
    return ModelLine(row.model_version_id, *facts)


def _made(session: Session, first: sa.Select[tuple[str, int]]) -> tuple[MadeFile, ...]:
    """What the jobs of the `first` generation and all later ones made. A job counts by its lowest generation."""
    reached = _descent(first)
    nearest = sa.select(reached.c.job_id, sa.func.min(reached.c.generation).label("generation"))
    job = nearest.group_by(reached.c.job_id).subquery("nearest")
    view = _FROM_SOURCE.c
    names = ("job_id", "state", "project", "editor", "source_sha256", "uri", "sha256", "recorded_at")
    query = sa.select(*(view[name] for name in names), job.c.generation).join(job, job.c.job_id == view.job_id)
    order = (job.c.generation, view.recorded_at.is_(None), view.recorded_at.desc(), view.job_id)
    rows = session.execute(query.order_by(*order))
    return tuple(MadeFile(**{**row._mapping, "sha256": row.sha256 or ""}) for row in rows)


def _descent(first: sa.Select[tuple[str, int]]) -> sa.CTE:
    """Jobs with their generation: the given ones, then those whose source is a deliverable of one before."""
    reached = first.cte("reached", recursive=True)
    # Written out, not as a value: only so does the index of the deliverables alone fit.
    deliverable = Artifact.kind == sa.literal_column("'deliverable'")
    later = (
        sa.select(Job.job_id, reached.c.generation + 1)
        .select_from(reached)
        .join(Artifact, sa.and_(Artifact.job_id == reached.c.job_id, deliverable))
        .join(Job, Job.source_sha256 == Artifact.sha256)
        .where(reached.c.generation < GENERATIONS)
    )
    return reached.union(later)


# -- sums -------------------------------------------------------------------------------------------------------------


@patient
def usage(
    db: Database, by: Collection[str] = GROUPS, since: date | None = None, until: date | None = None
) -> tuple[UsageLine, ...]:
    """GPU time and cost from the daily totals, from `since` to `until`, both included, grouped by some of `GROUPS` and
    always by currency.

    Raises:
        PermanentError: a group that there is not.
    """
    unknown = sorted(set(by) - set(GROUPS))
    if unknown:
        raise PermanentError(f"usage cannot be grouped by '{unknown[0]}': it can be by {', '.join(GROUPS)}")
    groups = [_USAGE.c[name] for name in (*GROUPS, "currency") if name in (*by, "currency")]
    sums = [sa.func.sum(_USAGE.c[name]).label(name) for name in ("chunks", "gpu_seconds", "cost")]
    query = sa.select(*groups, *sums).group_by(*groups).order_by(*groups)
    if since is not None:
        query = query.where(_USAGE.c.day >= since)
    if until is not None:
        query = query.where(_USAGE.c.day <= until)
    with db.read() as session:
        return tuple(_usage_line(dict(row._mapping)) for row in session.execute(query))


def _usage_line(row: dict[str, Any]) -> UsageLine:
    day, project, editor = (str(row.get(name, "")) for name in GROUPS)
    seconds = float(row["gpu_seconds"])
    costs = (float(row["cost"]), str(row["currency"]))
    return UsageLine(day, project, editor, int(row["chunks"]), seconds, seconds / 3600, *costs)


@patient
def failures(db: Database, since: date | None = None) -> tuple[FailureCause, ...]:
    """Why jobs ever failed and why workers ended badly, by cause, the most frequent first."""
    view = _FAILURE.c
    cause = (view.subject, view.category, view.editor)
    number = sa.func.row_number().over(partition_by=cause, order_by=(view.failed_at.desc(), view.subject_id))
    total = sa.func.count().over(partition_by=cause).label("total")
    standing = sa.func.sum(view.standing).over(partition_by=cause).label("still")
    numbered = sa.select(_FAILURE, number.label("number"), total, standing)
    if since is not None:
        numbered = numbered.where(view.failed_at >= _midnight(since))
    found = numbered.subquery()
    query = (
        sa.select(found).where(found.c.number == 1).order_by(found.c.total.desc(), *(found.c[c.name] for c in cause))
    )
    with db.read() as session:
        return tuple(_cause(row) for row in session.execute(query))


def _cause(row: Any) -> FailureCause:
    facts = (row.subject, row.category, row.editor, row.total, row.failed_at)
    return FailureCause(*facts, example=row.message, example_id=row.subject_id, standing=int(row.still))


@patient
def times(db: Database, since: date | None = None, project: str | None = None) -> tuple[StateTime, ...]:
    """How long jobs were in each state, in the order of a job's life."""
    view = _STAY.c
    query = sa.select(view.state, view.job_id, sa.func.sum(view.seconds).label("seconds"))
    if since is not None:
        query = query.where(view.entered_at >= _midnight(since))
    if project is not None:
        query = query.where(view.project == project)
    stay = query.group_by(view.state, view.job_id).subquery()
    seconds = stay.c.seconds
    sums = (sa.func.count(), sa.func.sum(seconds), sa.func.avg(seconds), sa.func.max(seconds))
    with db.read() as session:
        rows = {row[0]: row for row in session.execute(sa.select(stay.c.state, *sums).group_by(stay.c.state))}
    found = [rows[state] for state in JobState if state in rows]
    return tuple(StateTime(row[0], row[1], float(row[2]), float(row[3]), float(row[4])) for row in found)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


# -- what does not get on ---------------------------------------------------------------------------------------------


@patient
def stuck(db: Database, idle_seconds: float = IDLE_SECONDS) -> Stuck:
    """Jobs that have not ended and that no live flow works on, that were asked to cancel and did not, or in which
    nothing happened for `idle_seconds`; and dispatches whose flow is silent. The longest silence first."""
    job, dispatch = _JOB.c, _DISPATCH.c
    jobs = sa.select(_JOB).where(
        job.silent_seconds.is_(None)
        | (job.silent_seconds > STALE_SECONDS)
        | (job.cancel_seconds > STALE_SECONDS)
        | (job.idle_seconds > idle_seconds)
    )
    held = sa.select(_DISPATCH).where(dispatch.silent_seconds > STALE_SECONDS)
    with db.read() as session:
        return Stuck(
            tuple(_stuck_job(row) for row in session.execute(jobs.order_by(job.updated_at, job.job_id))),
            tuple(_stuck_dispatch(row) for row in session.execute(held.order_by(dispatch.created_at))),
        )


def _stuck_job(row: Any) -> StuckJob:
    facts = (row.job_id, row.state, row.project, row.editor, row.updated_at, float(row.idle_seconds))
    return StuckJob(*facts, why=_why(row))


def _why(row: Any) -> str:
    if row.state is JobState.AWAITING_REVIEW:
        return "waits for a review"
    if row.silent_seconds is None:
        return "no flow works on it: run its manifest again"
    if row.silent_seconds > STALE_SECONDS:
        return "its flow is silent: run its manifest again"
    if row.cancel_seconds is not None and row.cancel_seconds > STALE_SECONDS:
        return "asked to cancel, and its flow still lives"
    return "its flow lives, and nothing happens"


def _stuck_dispatch(row: Any) -> StuckDispatch:
    facts = (row.dispatch_id, row.state, row.editor, row.weights, row.rounds, row.chunks, row.created_at)
    return StuckDispatch(*facts, silent_seconds=float(row.silent_seconds))
