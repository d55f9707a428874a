"""Pairs on disk as examples: a table of source, target and instruction; videos and single pictures.

A step is of videos or of pictures, never of both: they do not fit into one batch. Which rows it has follows from its
number: each kind's rows are gone through in an order of their own, epoch after epoch. A row that cannot be trained on
is an error that names row, file and reason; none is repaired, and no other takes its place.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from sama_model.errors import WeightsError
from sama_model.framing import framed
from sama_model.training.data import BadExampleError, Example, Frames

STREAM = 82
"""First word of the seeds drawn here."""
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
"""Endings of files that are one frame."""
_OPTIONS = {
    "format_whitelist": "mov,matroska,avi,image2,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe",
    "protocol_whitelist": "file",
}
"""A row that names a playlist, or a place in the net, opens nothing."""
KINDS = "MP4, MOV, Matroska, WebM, AVI, PNG, JPEG, WebP, BMP"


@dataclass(frozen=True)
class Columns:
    """What a table calls them."""

    source: str = "source"
    target: str = "target"
    instruction: str = "instruction"


PLAIN = Columns()


@dataclass(frozen=True)
class Row:
    """One pair."""

    number: int
    """In the table, from 1, its heading not counted."""
    source: str
    """Path, relative to the data set's root."""
    target: str
    instruction: str

    @property
    def is_picture(self) -> bool:
        return Path(self.source).suffix.lower() in PICTURES


@dataclass(frozen=True)
class Pairs:
    """Examples of a table; `read` makes it."""

    digest: str
    """sha256 of the table's bytes."""
    columns: Columns
    size: tuple[int, int]
    """(width, height) of every example: the middle of a picture in that shape, resized, as inference's `crop`."""
    frames: int
    """Of a video, 4k+1: its first ones."""
    batch: int
    """Examples of a step."""
    seed: int
    images: float
    """Share of the steps that are of pictures."""
    root: Path = field(repr=False)
    videos: tuple[Row, ...] = field(repr=False)
    pictures: tuple[Row, ...] = field(repr=False)
    allowed: tuple[Path, ...] = field(default=(), repr=False)
    """Folders under which every file must lie once links are followed; none: anywhere."""

    def example(self, number: int) -> Example:
        """Example `number`: of the pictures' steps or of the videos'.

        Raises:
            BadExampleError: its row cannot be trained on.
        """
        step, place = divmod(number, self.batch)
        before, after = int(step * self.images), int((step + 1) * self.images)
        if after > before:
            return self.pair(self.row(self.pictures, before * self.batch + place), 1)
        return self.pair(self.row(self.videos, (step - before) * self.batch + place), self.frames)

    def row(self, rows: tuple[Row, ...], position: int) -> Row:
        """The row that comes at this position when all are gone through again and again."""
        epoch, at = divmod(position, len(rows))
        return rows[int(order(self.seed, epoch, len(rows))[at])]

    def pair(self, row: Row, count: int) -> Example:
        """The row as a pair of clips of so many frames. Raises BadExampleError."""
        name = f"row {row.number}"
        if (Path(row.target).suffix.lower() in PICTURES) != row.is_picture:
            raise BadExampleError(f"{name}: {row.source} and {row.target}: one is a picture, the other a video")
        if not row.instruction.strip():
            raise BadExampleError(f"{name}: {row.source}: no instruction")
        source, target = (self.clip(name, path, count) for path in (row.source, row.target))
        if source.shape != target.shape:
            sizes = " and ".join(f"{clip.shape[2]}x{clip.shape[1]}" for clip in (source, target))
            raise BadExampleError(f"{name}: {row.source} and {row.target}: pictures of two sizes, {sizes}")
        kind = "picture" if row.is_picture else "video"
        fitted = [framed(clip, self.size, "crop")[0] for clip in (source, target)]
        return Example(name, fitted[0], fitted[1], row.instruction, kind)

    def clip(self, name: str, path: str, count: int) -> Frames:
        """The first frames of a file, at their own size. Raises BadExampleError."""
        if not lies_in(self.root / path, self.allowed):
            raise BadExampleError(f"{name}: {path}: outside the allowed folders")
        try:
            frames = decoded(self.root / path, count)
        except av.ArgumentError as error:
            raise BadExampleError(f"{name}: {path}: not one of {KINDS}") from error
        except (av.FFmpegError, OSError) as error:
            raise BadExampleError(f"{name}: {path}: {error.strerror}") from error
        except ValueError as error:
            raise BadExampleError(f"{name}: {path}: {error}") from error
        if len(frames) < count:
            raise BadExampleError(f"{name}: {path}: {len(frames)} frames, {count} are wanted")
        if len({frame.shape for frame in frames}) > 1:
            raise BadExampleError(f"{name}: {path}: its frames have several sizes")
        return np.stack(frames)


def read(
    table: Path,
    size: tuple[int, int],
    frames: int,
    batch: int,
    seed: int = 0,
    columns: Columns = PLAIN,
    images: float = 0.5,
    root: Path | None = None,
    allowed: tuple[Path, ...] = (),
) -> Pairs:
    """The pairs of a .csv or .parquet file; paths in it are relative to `root`, else to the folder of the table. Of a
    table with one kind of pairs alone, `images` says nothing. `allowed`: see `Pairs`.

    Raises:
        WeightsError: it cannot be read, lacks a column, or has no row; it lies outside the allowed folders; or the
            settings cannot be met.
    """
    if not lies_in(table, allowed):
        raise WeightsError(f"{table}: outside the allowed folders; allow its folder with --allow")
    if frames % 4 != 1 or not 0 < images < 1:
        raise WeightsError(f"{table}: frames is 4k+1 and images between 0 and 1, not {frames} and {images}")
    rows = rows_of(table, columns)
    pictures = tuple(row for row in rows if row.is_picture)
    videos = tuple(row for row in rows if not row.is_picture)
    share = images if pictures and videos else float(not videos)
    digest = hashlib.sha256(table.read_bytes()).hexdigest()
    return Pairs(digest, columns, size, frames, batch, seed, share, root or table.parent, videos, pictures, allowed)


def lies_in(path: Path, folders: tuple[Path, ...]) -> bool:
    """Whether links and all lead to one of these; always, where there are none."""
    real = path.resolve()
    return not folders or any(real.is_relative_to(folder.resolve()) for folder in folders)


def rows_of(table: Path, columns: Columns) -> list[Row]:
    """Every row of the table. Raises WeightsError."""
    names = (columns.source, columns.target, columns.instruction)
    try:
        cells = parquet(table, names) if table.suffix == ".parquet" else comma_separated(table, names)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise WeightsError(f"{table}: cannot be read ({error})") from error
    if not cells:
        raise WeightsError(f"{table}: no rows")
    return [Row(number, *row) for number, row in enumerate(cells, start=1)]


def comma_separated(table: Path, names: Sequence[str]) -> list[list[str]]:
    """These columns of a CSV file. Raises WeightsError for one that is not there."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        check_columns(table, names, reader.fieldnames or ())
        return [[row[name] or "" for name in names] for row in reader]


def parquet(table: Path, names: Sequence[str]) -> list[list[str]]:
    """These columns of a parquet file. Raises WeightsError for one that is not there, or a file that is none."""
    from pyarrow import ArrowInvalid  # here: the extra `train` has it, and tables may be CSV files
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(table) as file:
            check_columns(table, names, file.schema_arrow.names)
            columns = file.read(columns=list(names))
            return [[text(row[name]) for name in names] for row in columns.to_pylist()]
    except ArrowInvalid as error:
        raise WeightsError(f"{table}: not a parquet file ({error})") from error


def text(cell: object) -> str:
    """A cell; an empty one is no text."""
    return "" if cell is None else str(cell)


def check_columns(table: Path, wanted: Sequence[str], there: Sequence[str]) -> None:
    """Refuse a table that lacks one. Raises WeightsError."""
    if missing := [name for name in wanted if name not in there]:
        raise WeightsError(f"{table}: no column {', '.join(missing)}; there are {', '.join(there) or 'none'}")


def decoded(path: Path, count: int) -> list[npt.NDArray[np.uint8]]:
    """At most so many frames (H, W, 3), by the colour matrix and range that the file states.

    Raises:
        OSError, av.FFmpegError: the file is not there, or cannot be decoded.
        ValueError: it has no picture.
    """
    frames: list[npt.NDArray[np.uint8]] = []
    with av.open(f"file:{path}", options=_OPTIONS) as container:
        if not container.streams.video:
            raise ValueError("no picture in it")
        for frame in container.decode(video=0):
            frames.append(frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False))
            if len(frames) == count:
                break
    return frames


@lru_cache(maxsize=4)
def order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    """How the rows follow each other in an epoch."""
    return np.random.default_rng([STREAM, seed, epoch]).permutation(count)
