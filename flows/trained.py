"""What `samaflow training` says: which models were trained, how far each is, figures, curves, what was left out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

import sql
from edits.errors import PermanentError
from flows.results import out
from sql.training import unknown
from tasks.curves import curves

if TYPE_CHECKING:
    from flows.train_sama import TrainingResult

STYLES = {"built": "green", "failed": "red", "paused": "yellow"}


@dataclass(frozen=True)
class TrainingLine:
    """One training run. Part of the `--json` output: fields are added, never renamed."""

    run_id: str
    curriculum: str
    state: str
    reason: str
    flow_gone: bool
    """It has not ended, and the flow that trained is dead: `samaflow train` with its folder goes on."""
    folder: str
    weights: str
    weights_digest: str
    curriculum_digest: str
    data_digest: str
    code_version: str
    begun_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class TrainingList:
    """The newest training runs."""

    runs: tuple[TrainingLine, ...]


@dataclass(frozen=True)
class PartLine:
    """How far one part of a run is, and its newest figures."""

    part: str
    step: int
    steps: int
    left_out: int
    figures: dict[str, float | None]


@dataclass(frozen=True)
class TrainingHistory:
    """One training run with its parts and the examples that it left out."""

    run: TrainingLine
    parts: tuple[PartLine, ...]
    left_out: tuple[sql.TrainingLeftOutRecord, ...]


def listed(db: sql.Database, limit: int) -> TrainingList:
    """The newest runs."""
    return TrainingList(tuple(line_of(run) for run in sql.training_runs(db, limit=limit)))


def history(db: sql.Database, run_id: str) -> TrainingHistory:
    """One run, by its id or the beginning of it.

    Raises:
        PermanentError: no such run, or several.
    """
    run = found(db, run_id)
    newest: dict[str, dict[str, float | None]] = {}
    for figure in sql.training_figures(db, run.run_id):
        newest.setdefault(figure.part, {})[figure.name] = figure.value
    parts = tuple(
        PartLine(part.part, part.step, part.steps, part.left_out, newest.get(part.part, {}))
        for part in sql.training_parts(db, run.run_id)
    )
    return TrainingHistory(line_of(run), parts, sql.training_left_out(db, run.run_id))


def picture(db: sql.Database, run_id: str) -> str:
    """The run's curves as SVG. Raises as `history`."""
    run = found(db, run_id)
    order = [part.part for part in sql.training_parts(db, run.run_id)]
    return curves(sql.training_figures(db, run.run_id), order)


def found(db: sql.Database, run_id: str) -> sql.TrainingRunRecord:
    """The one run whose id begins so. Raises PermanentError."""
    runs = sql.training_runs(db, run_id, limit=2)
    if not runs:
        raise unknown(run_id)
    if len(runs) > 1:
        raise PermanentError(f"several training runs begin with '{run_id}': give more of the id")
    return runs[0]


def line_of(run: sql.TrainingRunRecord) -> TrainingLine:
    return TrainingLine(
        run_id=run.run_id,
        curriculum=run.curriculum,
        state=str(run.state),
        reason=run.reason,
        flow_gone=run.state is sql.TrainingState.TRAINING and not run.alive,
        folder=run.folder,
        weights=run.weights,
        weights_digest=run.weights_digest,
        curriculum_digest=run.curriculum_digest,
        data_digest=run.data_digest,
        code_version=run.code_version,
        begun_at=run.begun_at,
        ended_at=run.ended_at,
    )


# -- for people -------------------------------------------------------------------------------------------------------


@contextmanager
def watching() -> Iterator[None]:
    """What a training says goes to standard error meanwhile."""
    log, handler = logging.getLogger("tasks.training"), logging.StreamHandler(sys.stderr)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)


def show_result(result: TrainingResult) -> None:
    """What came of a training."""
    out.print(f"{result.curriculum}: {result.state} in {escape(result.folder)}", soft_wrap=True)
    if result.reason:
        out.print(escape(result.reason), soft_wrap=True)
    if result.weights:
        out.print(f"weights {escape(result.weights)} {result.weights_digest}", highlight=False, soft_wrap=True)
    if result.evaluation:
        # Here: it brings what draws and measures, and `samaflow training` asks only.
        from flows.evaluate import show_rows

        show_rows(result.evaluation)
    for what, path in (("curves", result.curves), ("clips", result.sheet)):
        if path:
            out.print(f"{what}: {escape(path)}", soft_wrap=True)


def show_list(listed: TrainingList) -> None:
    """A row a run."""
    table = Table("run", "curriculum", "state", "begun", "weights", "folder", box=None, pad_edge=False)
    for line in listed.runs:
        begun = line.begun_at.strftime("%Y-%m-%d %H:%M") if line.begun_at else ""
        weights = f"{line.weights} {line.weights_digest[:12]}".strip()
        table.add_row(line.run_id[:12], line.curriculum, _state(line), begun, weights, escape(line.folder))
    out.print(table if listed.runs else "no model was trained yet")


def show_history(history: TrainingHistory) -> None:
    """The run, a row a part, what was left out."""
    run = history.run
    out.print(f"{run.curriculum} {_state(run)} in {escape(run.folder)}, code {run.code_version}", soft_wrap=True)
    if run.reason:
        out.print(escape(run.reason), soft_wrap=True)
    if run.weights_digest:
        out.print(f"weights {run.weights} {run.weights_digest}", highlight=False, soft_wrap=True)
    table = Table("part", "step", "of", "left out", "figures", box=None, pad_edge=False)
    for part in history.parts:
        said = "  ".join(f"{name} {'-' if value is None else f'{value:.4g}'}" for name, value in part.figures.items())
        table.add_row(part.part, str(part.step), str(part.steps), str(part.left_out), said)
    out.print(table, highlight=False)
    for each in history.left_out:
        out.print(escape(f"{each.part} left out example {each.number}: {each.reason}"), highlight=False, soft_wrap=True)


def _state(line: TrainingLine) -> str:
    word = "training (its flow is gone)" if line.flow_gone else line.state
    return f"[{STYLES.get(line.state, 'default')}]{word}[/]"
