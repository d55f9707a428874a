"""A small SAMA from nothing: data, stage 0, stage 1, evaluation, registration as a model version, on this machine.

The training itself (`sama_model.training`) is a child process: data and stages are its parts, and it goes on from its
checkpoints when the same folder is named again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from prefect import flow

import sql
from edits import wire
from edits.trust import local_path
from flows.evaluate import Evaluation
from flows.forms import Allow, field
from sama_model.evaluation.evaluate import Row
from sama_model.installed import REHEARSAL
from tasks.artifacts import following, publish_evaluation, publish_training
from tasks.curves import curves
from tasks.run import Run, open_run
from tasks.training import Recorder, Trained, TrainingOrder, measure_model, register_model, train_model

CurriculumName = Annotated[
    str,
    field(
        title="Curriculum",
        description="A committed one by name, or the path of a .toml file.",
        min_length=1,
        examples=["pico", "nano", "/models/mine.toml"],
    ),
]
Folder = Annotated[
    str,
    field(
        title="Folder",
        description="For checkpoints, journal and weights; the same folder again goes on. Empty: a usual one by name.",
        examples=["/models/runs/pico"],
    ),
]
Hours = Annotated[
    float,
    field(title="Hours at most", description="Then it pauses, with a checkpoint. 0: no limit.", ge=0, examples=[8]),
]
Rehearsal = Annotated[
    int, field(title="Rehearsal", description="At most so many steps a part; 0: all of them.", ge=0, examples=[20])
]
Processes = Annotated[
    int,
    field(title="Processes", description="So many share each step: one for each core or GPU.", ge=1, examples=[2]),
]
Samples = Annotated[
    int,
    field(title="Samples", description="Held-out clips to evaluate on; 0: none.", ge=0, le=10_000, examples=[200]),
]
EvaluationSeed = Annotated[int, field(title="Evaluation seed", description="Chooses the held-out clips.", ge=0)]


@dataclass(frozen=True)
class TrainingResult:
    """What came of it. Part of the `--json` output: fields are added, never renamed."""

    run_id: str
    curriculum: str
    state: str
    """`built` or `paused`."""
    reason: str
    """Why it is paused."""
    folder: str
    weights: str
    """Their folder; empty while there are none."""
    weights_digest: str
    curves: str
    """Path of the SVG picture."""
    sheet: str
    """Path of the PNG picture; empty without an evaluation."""
    evaluation: tuple[Row, ...]


@flow(name="train-sama")
def train_sama(
    curriculum: CurriculumName = "pico",
    folder: Folder = "",
    hours: Hours = 0.0,
    rehearsal: Rehearsal = 0,
    samples: Samples = 70,
    seed: EvaluationSeed = 0,
    processes: Processes = 1,
    allow: Allow = None,
) -> TrainingResult:
    """Train a small model from nothing, or go on; evaluate it and register it as a model version.

    Raises:
        WeightsError: the curriculum, or what is in the folder, cannot be used.
        TrustError: a path outside the allowed folders.
        BusyError: another flow trains in the folder.
        WorkerError: the training died; the same call goes on from its last checkpoint.
    """
    with open_run([], allow) as run:
        order = order_of(run, curriculum, folder, hours, rehearsal, processes)
        recorder = Recorder(run, order.folder)
        with following("Steps of all parts", recorder.fraction):
            trained = train_model(run, order, recorder)
        evaluation: tuple[Row, ...] = ()
        if trained.weights is not None:
            evaluation = measured(trained.weights, order.folder / "evaluation", seed, samples)
            register_model(run, trained.weights)
        result = result_of(run, order, trained, evaluation)
    publish_training(recorder.parts.values(), result.curves, result.sheet)
    publish_evaluation(evaluation)
    return result


def order_of(run: Run, curriculum: str, folder: str, hours: float, rehearsal: int, processes: int) -> TrainingOrder:
    """The call, its paths held against the allowed folders. Raises TrustError."""
    here = Path.cwd()
    if curriculum.endswith(".toml"):
        curriculum = str(local_path(run.trust.resolve(curriculum, here)))
    name = Path(curriculum).stem + (REHEARSAL if rehearsal else "")
    usual = run.settings.state_folder / "training" / name
    target = local_path(run.trust.resolve(folder, here)) if folder else usual
    folders = tuple(root for root in run.trust.roots if root.startswith("/"))
    return TrainingOrder(curriculum, target.absolute(), hours * 3600, rehearsal, processes, folders)


def measured(weights: Path, target: Path, seed: int, samples: int) -> tuple[Row, ...]:
    """Means by kind of edit; none where nothing is measured, or the flow run is cancelled meanwhile."""
    found = measure_model(weights, target, seed, samples) if samples else None
    if found is None:
        return ()
    return wire.load(Evaluation, found, str(target / "evaluation.json")).rows


def result_of(run: Run, order: TrainingOrder, trained: Trained, evaluation: tuple[Row, ...]) -> TrainingResult:
    """The result, and the curves beside the journal."""
    (record,) = sql.training_runs(run.db, trained.run_id)
    parts = [part.part for part in sql.training_parts(run.db, trained.run_id)]
    drawn = order.folder / "curves.svg"
    drawn.write_text(curves(sql.training_figures(run.db, trained.run_id), parts), encoding="utf-8")
    return TrainingResult(
        run_id=trained.run_id,
        curriculum=record.curriculum,
        state=str(record.state),
        reason=trained.reason,
        folder=str(order.folder),
        weights=str(trained.weights or ""),
        weights_digest=trained.digest,
        curves=str(drawn),
        sheet=str(order.folder / "evaluation" / "sheet.png") if evaluation else "",
        evaluation=evaluation,
    )
