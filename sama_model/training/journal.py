"""What a run says of itself for programs: FOLDER/journal.jsonl, one JSON record a line, whoever reads it.

A run has an id that is made once and stays in its folder. Whoever goes on with the run appends: steps behind the last
checkpoint are told again, and of two points at one step the later counts. No torch here: the flow side reads it.
"""

from __future__ import annotations

import fcntl
import math
import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from sama_model.errors import WeightsError

if TYPE_CHECKING:
    from sama_model.training.loop import Progress

NAME = "journal.jsonl"
POINTS = 200
"""Of each curve of a part, at most: a run is some thousands of numbers, however long it is."""


@dataclass(frozen=True)
class Begun:
    """A process works on the run from here on."""

    run_id: str
    curriculum: str
    curriculum_digest: str
    data_digest: str
    parts: tuple[tuple[str, int], ...]
    """Names and steps, in their order."""
    kind: Literal["begun"] = "begun"


@dataclass(frozen=True)
class Point:
    """A point of every curve of a part: means over its process's steps since the point before."""

    part: str
    step: int
    """Steps done."""
    steps: int
    values: tuple[tuple[str, float | None], ...]
    """By name; None: not a finite number."""
    kind: Literal["point"] = "point"


@dataclass(frozen=True)
class LeftOut:
    """An example that could not be trained on."""

    part: str
    step: int
    """Of which it was to be, from 0."""
    number: int
    reason: str
    kind: Literal["left_out"] = "left_out"


@dataclass(frozen=True)
class Finished:
    """The weights are there."""

    weights: str
    """Their folder."""
    name: str
    digest: str
    kind: Literal["finished"] = "finished"


Line = Annotated[Begun | Point | LeftOut | Finished, Field(discriminator="kind")]
_LINE: TypeAdapter[Line] = TypeAdapter(Line)


def lines_from(folder: Path, offset: int = 0) -> tuple[list[Line], int]:
    """What was written behind the byte `offset`, and the offset behind it; a line that is being written is left.

    Raises:
        WeightsError: a line that is none of a journal.
    """
    path = folder / NAME
    if not path.is_file():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    try:
        return [_LINE.validate_json(line) for line in whole.splitlines()], offset + len(whole)
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"]
        raise WeightsError(f"{path}: a line behind byte {offset} is none of a journal ({said}); remove it") from error


@dataclass
class Journal:
    """The journal of a folder while a process trains there. Open it with `with`: it keeps other processes out."""

    folder: Path
    sums: dict[str, float] = field(default_factory=dict)
    """Of the figures since the last point."""
    count: int = 0

    def __enter__(self) -> Journal:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = (self.folder / NAME).open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise WeightsError(f"{self.folder}: another process trains here; wait for it, or end it") from error
        self._file.seek(0)
        data = self._file.read()
        self._file.truncate(data.rfind(b"\n") + 1)  # what a killed process had half written
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def begin(self, curriculum: str, curriculum_digest: str, data_digest: str, parts: list[tuple[str, int]]) -> None:
        """Says what is trained, under the id that the folder has, or gets."""
        lines, _ = lines_from(self.folder)
        ids = [line.run_id for line in lines if isinstance(line, Begun)]
        run_id = ids[0] if ids else uuid.uuid4().hex
        self._write(Begun(run_id, curriculum, curriculum_digest, data_digest, tuple(parts)))

    def tell(self, progress: Progress) -> None:
        """A step: what it left out at once, its figures with the next point."""
        for bad in progress.bad:
            self._write(LeftOut(progress.part, progress.step, bad.number, bad.reason))
        if progress.figures:
            for name, value in (*progress.figures, ("gradient", progress.gradient)):
                self.sums[name] = self.sums.get(name, 0.0) + value
            self.count += 1
        done = progress.step + 1
        if done % math.ceil(progress.steps / POINTS) == 0 or done == progress.steps:
            means = tuple((name, finite(total / self.count)) for name, total in self.sums.items())
            self._write(Point(progress.part, done, progress.steps, means))
            self.sums, self.count = {}, 0

    def finish(self, weights: Path, name: str, digest: str) -> None:
        """Says what was built."""
        self._write(Finished(str(weights), name, digest))

    def _write(self, line: Line) -> None:
        self._file.write(_LINE.dump_json(line) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def finite(value: float) -> float | None:
    """JSON and databases have no other numbers."""
    return value if math.isfinite(value) else None
