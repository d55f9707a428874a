"""A small model's training and measurement as child processes of a flow: the flow side loads no torch.

The training says what it does in its journal (`sama_model.training.journal`); here that becomes rows, progress and log.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import MissingContextError

import sql
from edits.errors import SamaflowError, WeightsError, WorkerError
from sama_model.errors import WeightsError as ModelWeightsError
from sama_model.installed import read_card
from sama_model.training.journal import Begun, Finished, LeftOut, Line, Point, lines_from
from sama_model.training.stopping import PAUSED, UNUSABLE
from tasks.clock import Every, WallClock
from tasks.local import worker_environ
from tasks.prefect_runs import this_run_is_cancelled
from tasks.run import Run
from tasks.version import code_version

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
ASK_SECONDS = 5.0
"""How often Prefect is asked whether somebody has cancelled the run."""
GRACE_SECONDS = 60.0
"""From SIGTERM, at which a training ends its step and writes a checkpoint, to SIGKILL."""
SAID = 20
"""Lines of a log that are looked at for the reason of a failure."""


@dataclass(frozen=True)
class TrainingOrder:
    """What is to be trained, where, for how long."""

    curriculum: str
    """A name, or a .toml file's absolute path."""
    folder: Path
    """Checkpoints, journal and weights; whoever names it again goes on."""
    seconds: float = 0.0
    """Then it pauses; 0: no limit."""
    rehearsal: int = 0
    """At most so many steps a part; 0: all."""
    processes: int = 1
    """That share each step."""
    allowed: tuple[str, ...] = ()
    """Folders under which pairs to train on must lie; none: anywhere."""

    def command(self) -> list[str]:
        """Of the child. -P: a folder named `sama_model` where the user happens to stand is not ours."""
        made = [sys.executable, "-P", "-u", "-m", "sama_model.training", self.curriculum, str(self.folder)]
        made += ["--tensorboard", "--parent-pipe", "--processes", str(self.processes)]
        made += [part for folder in self.allowed for part in ("--allow", folder)]
        if self.seconds:
            made += ["--seconds", str(self.seconds)]
        return [*made, "--shortened", str(self.rehearsal)] if self.rehearsal else made


@dataclass(frozen=True)
class Trained:
    """How a training ended, if it did not fail."""

    run_id: str
    weights: Path | None
    """Their folder; None: paused."""
    digest: str
    reason: str
    """Why it is paused."""


@dataclass
class Recorder:
    """Follows a folder's journal into the database. What is read again changes nothing there."""

    run: Run
    folder: Path
    run_id: str = ""
    parts: dict[str, sql.TrainingPartRecord] = field(default_factory=dict)
    finished: Finished | None = None
    _offset: int = 0
    _left_out: dict[str, set[int]] = field(default_factory=dict)

    def look(self) -> None:
        """Record what was written since the last look. The next one begins behind it only when it is recorded: a flow
        may be stopped in between, by Ctrl-C too.

        Raises:
            BusyError: another flow trains in the folder.
            WeightsError: the journal is damaged.
        """
        try:
            lines, behind = lines_from(self.folder, self._offset)
        except ModelWeightsError as error:
            raise WeightsError(str(error)) from error
        for begun in [line for line in lines if isinstance(line, Begun)][-1:]:
            self._begin(begun)
        if lines and self.run_id:
            figures, left_out = self._taken(lines)
            sql.record_training(self.run.db, self.run_id, list(self.parts.values()), figures, left_out)
        self._offset = behind

    def _begin(self, begun: Begun) -> None:
        facts = (begun.curriculum, begun.curriculum_digest, begun.data_digest)
        record = sql.TrainingRunRecord(begun.run_id, *facts, str(self.folder), code_version())
        known = {name: self.parts.get(name, sql.TrainingPartRecord(name, steps)) for name, steps in begun.parts}
        sql.begin_training(self.run.db, record, list(known.values()), self.run.owner)
        self.run_id, self.parts = begun.run_id, known

    def _taken(self, lines: list[Line]) -> tuple[list[sql.TrainingFigureRecord], list[sql.TrainingLeftOutRecord]]:
        """Points and left-out examples as rows; how far the parts are is noted."""
        figures, left_out = [], []
        for line in lines:
            if isinstance(line, Point):
                count = len(self._left_out.get(line.part, ()))
                self.parts[line.part] = sql.TrainingPartRecord(line.part, line.steps, line.step, count)
                figures += [sql.TrainingFigureRecord(line.part, line.step, name, value) for name, value in line.values]
            elif isinstance(line, LeftOut):
                self._left_out.setdefault(line.part, set()).add(line.number)
                left_out.append(sql.TrainingLeftOutRecord(line.part, line.step, line.number, line.reason))
            else:
                self.finished = line if isinstance(line, Finished) else None
        return figures, left_out

    def fraction(self) -> float:
        """Share of all steps that is done."""
        steps = sum(part.steps for part in self.parts.values())
        return sum(part.step for part in self.parts.values()) / steps if steps else 0.0

    def end(self, state: sql.TrainingState, reason: str = "") -> None:
        """Say how it ended, if it had begun."""
        if self.run_id:
            built = self.finished
            names = (built.name, built.digest) if built is not None else ("", "")
            sql.end_training(self.run.db, self.run_id, state, reason, *names)


@dataclass
class Log:
    """What a child prints, to a file that outlives it."""

    path: Path
    _offset: int = 0

    def __post_init__(self) -> None:
        self._offset = self.path.stat().st_size if self.path.exists() else 0
        self.last: list[str] = []

    def say(self) -> None:
        """Whole lines that came since the last time go to the flow's log."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            tell(line)
            self.last = [*self.last, line][-SAID:]


def tell(line: str) -> None:
    """To the terminal's log, and to Prefect's where this is a flow run."""
    log.info("%s", line)
    try:
        get_run_logger().info(line)
    except MissingContextError:
        return


@contextmanager
def child(command: list[str], out: Path, err: Path, processes: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does not outlive this block, nor, by its standard input, this process.

    `processes`: how many it starts, which share this machine's cores.

    It ends by SIGTERM, at which a training writes a checkpoint. A group of its own keeps a terminal's Ctrl-C from it.
    """
    environ = worker_environ(os.environ, processes, None)
    with out.open("ab") as printed, err.open("ab") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=printed, stderr=said, env=environ, start_new_session=True
        )
    assert process.stdin is not None
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        process.stdin.close()


def train(run: Run, order: TrainingOrder, recorder: Recorder) -> Trained:
    """Train to the end or to a pause, everything recorded.

    Raises:
        BusyError: another flow trains in the folder.
        WeightsError: the curriculum or what is in the folder cannot be used.
        WorkerError: the process died.
    """
    order.folder.mkdir(parents=True, exist_ok=True)
    printed = Log(order.folder / "training.log")

    def look() -> None:
        printed.say()
        recorder.look()

    try:
        with child(order.command(), printed.path, printed.path, order.processes) as process:
            cancelled = _followed(process, look)
        look()
    except BaseException as error:
        with suppress(SamaflowError):  # it may be what has failed
            recorder.look()
        recorder.end(
            sql.TrainingState.PAUSED, "the flow was stopped" if not isinstance(error, Exception) else str(error)
        )
        raise
    return _ended(process.returncode, recorder, printed, cancelled=cancelled)


def _followed(process: subprocess.Popen[bytes], look: Callable[[], None]) -> bool:
    """Until it ends (False), or the flow run is cancelled in Prefect (True); `look` is called now and then."""
    asked = Every(ASK_SECONDS, WallClock())
    while process.poll() is None:
        if asked.due() and this_run_is_cancelled():
            return True
        time.sleep(POLL_SECONDS)
        look()
    return False


def _ended(code: int, recorder: Recorder, printed: Log, *, cancelled: bool) -> Trained:
    """What an exit code means; recorded. Raises as `train`."""
    if code == 0 and recorder.finished is not None:
        recorder.end(sql.TrainingState.BUILT)
        return Trained(recorder.run_id, Path(recorder.finished.weights), recorder.finished.digest, "")
    if code == PAUSED:
        reason = "cancelled" if cancelled else (printed.last or ["paused"])[-1]
        recorder.end(sql.TrainingState.PAUSED, reason)
        return Trained(recorder.run_id, None, "", reason)
    last = (printed.last or ["it said nothing"])[-1]
    recorder.end(sql.TrainingState.FAILED, last)
    if code == UNUSABLE:
        raise WeightsError(last)
    ending = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    raise WorkerError(f"the training {ending}: {last}. {printed.path} has all; the same call goes on from a checkpoint")


def measure(weights: Path, target: Path, seed: int, samples: int) -> bytes | None:
    """Evaluate the weights on held-out clips; the JSON document, or None where the flow run is cancelled in Prefect.

    `target`: a folder for it and for the sheet.

    Raises:
        WeightsError: they cannot be evaluated.
    """
    target.mkdir(parents=True, exist_ok=True)
    found, printed = target / "evaluation.json", Log(target / "evaluation.log")
    found.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "flows.cli", "evaluate", str(weights), "--json"]
    command += ["--seed", str(seed), "--count", str(samples), "--sheet", str(target / "sheet.png"), "--parent-pipe"]
    with child(command, found, printed.path) as process:
        if _followed(process, printed.say):
            return None
    printed.say()
    if process.returncode != 0:
        last = (printed.last or [f"exit code {process.returncode}"])[-1]
        raise WeightsError(f"{weights}: cannot be evaluated: {last}")
    return found.read_bytes()


def register(run: Run, weights: Path) -> None:
    """Record the weights as a model version, with what made them."""
    card = read_card(weights).card
    made_by = card.converter or f"samaflow {code_version()}"
    sql.record_model_version(run.db, card.name, card.digest, card.editor, card.editor_version, made_by, card.loras)


# -- as task runs -----------------------------------------------------------------------------------------------------


@task(name="train-model", cache_policy=NO_CACHE)
def train_model(run: Run, order: TrainingOrder, recorder: Recorder) -> Trained:
    """`train` as a task run."""
    return train(run, order, recorder)


@task(name="measure-model", cache_policy=NO_CACHE)
def measure_model(weights: Path, target: Path, seed: int, samples: int) -> bytes | None:
    """`measure` as a task run."""
    return measure(weights, target, seed, samples)


@task(name="register-model", cache_policy=NO_CACHE)
def register_model(run: Run, weights: Path) -> None:
    """`register` as a task run."""
    register(run, weights)
