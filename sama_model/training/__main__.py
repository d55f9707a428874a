"""Trains a small model from nothing, or goes on: python -m sama_model.training CURRICULUM FOLDER [--processes N]

CURRICULUM is the name of a committed one, or a .toml file. What it says is for people; FOLDER/journal.jsonl has the
same for programs. Exit codes: 0 the weights are in FOLDER/weights, 75 it was stopped (the time was over, SIGTERM,
Ctrl-C) and the same command goes on, 2 the call is unusable.

torchrun --nproc-per-node N -m sama_model.training ... is the same as --processes N, but that it ends with 1 for those.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sama_model.errors import WeightsError
from sama_model.training.curriculum import Curriculum, committed, read
from sama_model.training.data import BadExampleError
from sama_model.training.driver import Built, build
from sama_model.training.journal import Journal
from sama_model.training.loop import PausedError, Progress, Tell
from sama_model.training.processes import train_in
from sama_model.training.stopping import PAUSED, UNUSABLE, Stopping

if TYPE_CHECKING:
    from sama_model.training.events import EventFiles

EVERY = 10.0
"""Seconds between two lines of progress."""


@dataclass
class Printer:
    """A line of progress now and then: losses averaged since the last one, and the time that the part still takes."""

    begun: dict[str, tuple[int, float]] = field(default_factory=dict)
    """Step and time at which each part was begun in this process."""
    said: float = 0.0
    since: list[Progress] = field(default_factory=list)

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        first, start = self.begun.setdefault(progress.part, (progress.step, now))
        if self.since and self.since[-1].part != progress.part:
            self.since.clear()
        if progress.figures:
            self.since.append(progress)
        for bad in progress.bad:
            write(f"{progress.part}: left out example {bad.number}: {bad.reason}")
        if now - self.said < EVERY and progress.step + 1 < progress.steps:
            return
        done = progress.step - first
        left = f"{(progress.steps - progress.step - 1) * (now - start) / done / 60:.1f} min left" if done else ""
        names = [name for name, _ in self.since[-1].figures] if self.since else []
        means = " ".join(
            f"{name} {sum(each.figure(name) for each in self.since) / len(self.since):.4f}" for name in names
        )
        write(f"{progress.part} {progress.step + 1}/{progress.steps} {means} gradient {progress.gradient:.2f} {left}")
        self.said = now
        self.since.clear()


def write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def curriculum_of(text: str) -> Curriculum:
    """By name, or by file. Raises WeightsError."""
    return read(Path(text)) if text.endswith(".toml") else committed(text)


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    given = parser().parse_args(arguments)
    if given.processes > 1 and "RANK" not in os.environ:
        return train_in(given.processes, arguments)
    try:
        curriculum = curriculum_of(given.curriculum)
        curriculum = curriculum.within(given.allow)
        if given.shortened is not None:
            curriculum = curriculum.shortened(given.shortened)
        with Stopping(given.seconds, given.parent_pipe) as stopping:
            if os.environ.get("RANK", "0") != "0":
                build(curriculum, given.folder, lambda progress: None, stopping)
                return 0
            with Journal(given.folder) as journal:
                built = trained(curriculum, given.folder, journal, stopping, events=given.tensorboard)
    except PausedError as paused:
        write(f"{paused}; the same command goes on")
        return PAUSED
    except (WeightsError, BadExampleError) as error:
        sys.stderr.write(f"{error}\n")
        return UNUSABLE
    write(f"{built.weights}: digest {built.installed.card.digest}")
    return 0


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    made = argparse.ArgumentParser(prog="python -m sama_model.training", description="Train a small model.")
    made.add_argument("curriculum", help="nano, pico, or a .toml file")
    made.add_argument("folder", type=Path, help="where checkpoints and weights go")
    made.add_argument("--seconds", type=float, help="stop after so long; the same command goes on")
    made.add_argument(
        "--processes", type=int, default=1, metavar="N", help="so many share each step, one a core or GPU"
    )
    made.add_argument("--shortened", type=int, metavar="STEPS", help="at most so many steps a part, as a rehearsal")
    made.add_argument("--tensorboard", action="store_true", help="write FOLDER/tensorboard too")
    made.add_argument("--allow", action="append", default=[], metavar="FOLDER", help="read pairs from here alone")
    made.add_argument("--parent-pipe", action="store_true", help="stop when standard input is closed")
    return made


def trained(curriculum: Curriculum, folder: Path, journal: Journal, stopping: Stopping, *, events: bool) -> Built:
    """Builds, and has it told to people, to the journal, and to TensorBoard where that was asked for."""
    with ExitStack() as at_end:
        listeners: list[Tell] = [Printer(), journal.tell]
        if events:
            listeners.append(at_end.enter_context(closing(event_files(folder / "tensorboard"))).tell)
        journal.begin(curriculum.name, curriculum.digest(), curriculum.data(), curriculum.parts())
        built = build(curriculum, folder, lambda progress: told(listeners, progress), stopping)
    journal.finish(built.weights, built.installed.card.name, built.installed.card.digest)
    return built


def event_files(folder: Path) -> EventFiles:
    """Raises WeightsError where what writes them is not installed."""
    try:
        from sama_model.training.events import EventFiles  # here: it is not needed to train
    except ModuleNotFoundError as error:
        raise WeightsError(f"TensorBoard's files want {error.name}: pip install 'samaflow[train]'") from error
    return EventFiles(folder)


def told(listeners: list[Tell], progress: Progress) -> None:
    for listener in listeners:
        listener(progress)


if __name__ == "__main__":
    sys.exit(main())
