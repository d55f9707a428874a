"""Training runs: one row a folder in which a model is trained, how far each of its parts is, and its curves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.orm import Session

from edits.errors import BusyError, PermanentError
from sql.base import utc_now
from sql.inserts import insert_new, upsert
from sql.models import Holder, TrainingFigure, TrainingLeftOut, TrainingPart, TrainingRun
from sql.owners import dead_among, is_dead, seen
from sql.patience import patient
from sql.records import (
    Owner,
    TrainingFigureRecord,
    TrainingLeftOutRecord,
    TrainingPartRecord,
    TrainingRunRecord,
    TrainingState,
)
from sql.session import Database

NAMED = 1000
"""Examples of a part that are named when they were left out; all are counted."""


@patient
def begin_training(db: Database, run: TrainingRunRecord, parts: Sequence[TrainingPartRecord], owner: Owner) -> None:
    """`owner` trains in the run's folder from now on; a run that is recorded goes on, with its figures.

    Raises:
        BusyError: another flow that lives trains in it.
    """
    facts = {
        name: getattr(run, name)
        for name in ("curriculum", "curriculum_digest", "data_digest", "folder", "code_version")
    }
    with db.write() as session:
        seen(session, owner)
        insert_new(session, TrainingRun, [{"run_id": run.run_id, **facts}])
        row = session.get_one(TrainingRun, run.run_id, with_for_update=True)
        _refuse_taken(session, row, owner)
        for name, value in facts.items():
            setattr(row, name, value)
        row.owner_id, row.state, row.reason, row.ended_at = owner.owner_id, TrainingState.TRAINING, "", None
        for position, part in enumerate(parts):
            fresh = {"position": position, "steps": part.steps}
            key = {"run_id": run.run_id, "part": part.part}
            upsert(session, TrainingPart, ["run_id", "part"], {**key, **fresh}, fresh)


def _refuse_taken(session: Session, row: TrainingRun, owner: Owner) -> None:
    if row.state is not TrainingState.TRAINING or row.owner_id in {None, owner.owner_id}:
        return
    if not is_dead(session, session.get_one(Holder, row.owner_id)):
        raise BusyError(f"another flow trains in {row.folder}: wait until it ends, or cancel it")


@patient
def record_training(
    db: Database,
    run_id: str,
    parts: Sequence[TrainingPartRecord],
    figures: Sequence[TrainingFigureRecord],
    left_out: Sequence[TrainingLeftOutRecord] = (),
) -> None:
    """How far the parts are, and points of their curves; what is told again takes the former's place. Of examples that
    were left out a part names the first `NAMED`: the count in `parts` is of all."""
    with db.write() as session:
        for part in parts:
            row = session.get_one(TrainingPart, (run_id, part.part))
            row.steps, row.step, row.left_out = part.steps, part.step, part.left_out
        for figure in figures:
            key = {"run_id": run_id, "part": figure.part, "step": figure.step, "name": figure.name}
            upsert(session, TrainingFigure, list(key), {**key, "value": figure.value}, {"value": figure.value})
        insert_new(session, TrainingLeftOut, _named(session, run_id, left_out))


def _named(session: Session, run_id: str, left_out: Sequence[TrainingLeftOutRecord]) -> list[dict[str, object]]:
    """Those that are new and for which there is room."""
    known = sa.select(TrainingLeftOut.part, TrainingLeftOut.number).where(TrainingLeftOut.run_id == run_id)
    named = {(part, number) for part, number in session.execute(known)}
    count = Counter(part for part, _ in named)
    rows: list[dict[str, object]] = []
    for each in left_out:
        if (each.part, each.number) not in named and count[each.part] < NAMED:
            named.add((each.part, each.number))
            count[each.part] += 1
            rows.append({"run_id": run_id, **asdict(each)})
    return rows


@patient
def end_training(
    db: Database, run_id: str, state: TrainingState, reason: str = "", weights: str = "", weights_digest: str = ""
) -> None:
    """Nobody trains in it for now. Without new weights those that were built stay named.

    Raises:
        PermanentError: no such run.
    """
    with db.write() as session:
        row = session.get(TrainingRun, run_id, with_for_update=True)
        if row is None:
            raise unknown(run_id)
        row.state, row.reason, row.ended_at = state, reason, utc_now()
        row.weights, row.weights_digest = weights or row.weights, weights_digest or row.weights_digest


# -- asking -----------------------------------------------------------------------------------------------------------


@patient
def training_runs(db: Database, beginning: str = "", limit: int = 50) -> tuple[TrainingRunRecord, ...]:
    """Those whose id begins so, the newest first."""
    query = sa.select(TrainingRun, Holder).outerjoin(Holder, Holder.owner_id == TrainingRun.owner_id)
    if beginning:
        query = query.where(TrainingRun.run_id.startswith(beginning, autoescape=True))
    with db.read() as session:
        found = session.execute(query.order_by(TrainingRun.begun_at.desc(), TrainingRun.run_id).limit(limit)).all()
        dead = dead_among(session, [holder for _, holder in found if holder is not None])
        return tuple(_record_of(row, dead) for row, _ in found)


def _record_of(row: TrainingRun, dead: set[str]) -> TrainingRunRecord:
    return TrainingRunRecord(
        run_id=row.run_id,
        curriculum=row.curriculum,
        curriculum_digest=row.curriculum_digest,
        data_digest=row.data_digest,
        folder=row.folder,
        code_version=row.code_version,
        state=row.state,
        reason=row.reason,
        weights=row.weights,
        weights_digest=row.weights_digest,
        alive=row.state is TrainingState.TRAINING and row.owner_id is not None and row.owner_id not in dead,
        begun_at=row.begun_at,
        ended_at=row.ended_at,
    )


@patient
def training_parts(db: Database, run_id: str) -> tuple[TrainingPartRecord, ...]:
    """The parts of a run in their order."""
    query = sa.select(TrainingPart).where(TrainingPart.run_id == run_id).order_by(TrainingPart.position)
    with db.read() as session:
        rows = session.scalars(query)
        return tuple(TrainingPartRecord(row.part, row.steps, row.step, row.left_out) for row in rows)


@patient
def training_figures(db: Database, run_id: str) -> tuple[TrainingFigureRecord, ...]:
    """Every point of a run's curves, by part, name and step."""
    columns = (TrainingFigure.part, TrainingFigure.step, TrainingFigure.name, TrainingFigure.value)
    order = (TrainingFigure.part, TrainingFigure.name, TrainingFigure.step)
    with db.read() as session:
        rows = session.execute(sa.select(*columns).where(TrainingFigure.run_id == run_id).order_by(*order))
        return tuple(TrainingFigureRecord(*row) for row in rows)


@patient
def training_left_out(db: Database, run_id: str) -> tuple[TrainingLeftOutRecord, ...]:
    """The examples that are named, by part and number."""
    columns = (TrainingLeftOut.part, TrainingLeftOut.step, TrainingLeftOut.number, TrainingLeftOut.reason)
    order = (TrainingLeftOut.part, TrainingLeftOut.number)
    with db.read() as session:
        rows = session.execute(sa.select(*columns).where(TrainingLeftOut.run_id == run_id).order_by(*order))
        return tuple(TrainingLeftOutRecord(*row) for row in rows)


def unknown(run_id: str) -> PermanentError:
    return PermanentError(
        f"there is no training run {run_id} in the database; `samaflow training` lists those there are"
    )
