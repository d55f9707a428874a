"""Trains a small model from nothing, or goes on: python -m sama_model.training CURRICULUM FOLDER [--seconds S]

CURRICULUM is the name of a committed one, or a .toml file. Exit codes: 0 the weights are in FOLDER/weights, 75 the time
was over and the same command goes on, 2 the call is unusable.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from sama_model.errors import WeightsError
from sama_model.training.curriculum import Curriculum, committed, read
from sama_model.training.driver import build
from sama_model.training.loop import PausedError, Progress

EVERY = 10.0
"""Seconds between two lines of progress."""
PAUSED, UNUSABLE = 75, 2


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
        self.since.append(progress)
        for bad in progress.bad:
            write(f"{progress.part}: left out example {bad.number}: {bad.reason}")
        if now - self.said < EVERY and progress.step + 1 < progress.steps:
            return
        done = progress.step - first
        left = f"{(progress.steps - progress.step - 1) * (now - start) / done / 60:.1f} min left" if done else ""
        names = [name for name, _ in progress.figures]
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
    parser = argparse.ArgumentParser(prog="python -m sama_model.training", description="Train a small model.")
    parser.add_argument("curriculum", help="nano, pico, or a .toml file")
    parser.add_argument("folder", type=Path, help="where checkpoints and weights go")
    parser.add_argument("--seconds", type=float, help="stop after so long; the same command goes on")
    parser.add_argument("--shortened", type=int, metavar="STEPS", help="at most so many steps a part, as a rehearsal")
    given = parser.parse_args(arguments)
    end = time.monotonic() + given.seconds if given.seconds is not None else None
    try:
        curriculum = curriculum_of(given.curriculum)
        if given.shortened is not None:
            curriculum = curriculum.shortened(given.shortened)
        built = build(curriculum, given.folder, Printer(), lambda: end is not None and time.monotonic() >= end)
    except PausedError as paused:
        write(f"{paused}; the same command goes on")
        return PAUSED
    except WeightsError as error:
        sys.stderr.write(f"{error}\n")
        return UNUSABLE
    write(f"{built.weights}: digest {built.installed.card.digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
