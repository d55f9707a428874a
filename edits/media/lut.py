"""Camera log as the editor sees it, through a LUT that the row names (.cube), and back again. Arrays, one text file.

What the editor changed comes back as the difference of two inverses, as of HDR (see `tone`): what it left alone keeps
its code values. So the LUT has to have an inverse: where it clips, the source stays; where it turns back, it is
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edits.errors import SourceError

Levels = npt.NDArray[np.float32]
"""(H, W, 3) R'G'B' in levels of 8 bits, with fractions: 0 to 255."""
Colours = npt.NDArray[np.float32]
"""(N, 3) R'G'B' from 0 to 1."""
Grid = npt.NDArray[np.float32]
"""(n, n, n, 3): a colour for each red, green and blue of an even grid on [0, 1], in that order of axes."""

MAX_BYTES = 64 << 20
MAX_SIDE = 129
"""Points a side of a 3D table: a third more than any camera maker gives."""
MAX_ENTRIES = 65_536
"""Of a 1D table, as the format's authors limit it."""
_INVERSE_SIDE = 49
_FORWARD_SIDE = 65
"""Samples a side that an inverse begins with."""
_STEPS = 12
"""Until an inverse stands still."""
_CHROMA = 0.06
"""How far in log, of 1, the channels of an ordinary colour are from its grey: a stop, nearly."""
_CLIPPED = 0.01
"""Nearer to black or white than this a colour may have been clipped: nobody expects it back."""
_LOST = 0.05
"""How far in log, of 1, a colour comes back from where it was when it counts as lost."""
_LOST_SHARE = 0.3
"""Share of the colours that may be: those near the edges of what the table reaches. Of tables from six cameras' log to
BT.709 it is 4 to 10 %, with half of the colour taken out 17 %, with all of it 96 % (docs/decisions/0014)."""


@dataclass(frozen=True)
class Cube:
    """A table as a .cube file states it (Adobe's Cube LUT specification 1.0)."""

    table: npt.NDArray[np.float32]
    """(n, 3) for each channel on its own, or `Grid`."""
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    """The input that the first and last entries belong to."""

    @property
    def is_grid(self) -> bool:
        return self.table.ndim == 4

    def __call__(self, colours: Colours) -> Colours:
        """What the editor sees of `colours`; outputs beyond 0 and 1 are clipped."""
        low, high = np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)
        places = np.clip((colours - low) / (high - low), 0, 1)
        found = _in_grid(self.table, places) if self.is_grid else _in_curves(self.table, places)
        return np.asarray(np.clip(found, 0, 1), np.float32)


class Lut:
    """A table and its inverse, both on `Levels`: what `ToneCurve` is for HDR."""

    def __init__(self, cube: Cube) -> None:
        self._cube = cube
        self._inverse = _inverse_of(cube)

    def to_sdr(self, codes: Levels) -> Levels:
        """What the editor sees of code values in log."""
        return _levels(self._cube, codes)

    def to_hdr(self, levels: Levels) -> Levels:
        """The code values in log that `to_sdr` maps to `levels`, or nearest to them."""
        return _levels(self._inverse, levels)


def _levels(table: Any, levels: Levels) -> Levels:
    colours = np.asarray(levels, np.float32).reshape(-1, 3) / np.float32(255)
    return np.asarray(table(colours).reshape(levels.shape) * np.float32(255), np.float32)


@lru_cache(maxsize=4)
def lut_of(path: str, sha256: str) -> Lut:
    """The file's table and its inverse, made once a process. `sha256` is what the caller has found the file to be."""
    return Lut(read_cube(Path(path)))


def require_lut(path: Path) -> None:
    """Read a LUT and go through it there and back.

    Raises:
        SourceError: it is no .cube file, or cannot be undone.
    """
    cube = read_cube(path)
    if _turns_back(cube):
        raise SourceError(f"{path}: this LUT cannot be undone: its greys do not rise all the way from dark to bright")
    log = _samples(cube)
    seen = cube(log)
    inside = ((seen > _CLIPPED) & (seen < 1 - _CLIPPED)).all(axis=1)
    gone = np.abs(_inverse_of(cube)(seen) - log).max(axis=1)[inside]
    share = float((gone > _LOST).mean()) if inside.any() else 1.0
    if share > _LOST_SHARE:
        raise SourceError(f"{path}: this LUT cannot be undone: {share:.0%} of ordinary colours are not found again")


# -- the file ---------------------------------------------------------------------------------------------------------


def read_cube(path: Path) -> Cube:
    """Read a .cube file.

    Raises:
        SourceError: it cannot be read, or is no .cube file; the message names the line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SourceError(f"{path}: the LUT cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise SourceError(f"{path}: a LUT has at most {MAX_BYTES >> 20} MiB")
    lines = enumerate(data.decode("utf-8-sig", errors="replace").splitlines(), start=1)
    return _parsed(path, ((number, line.split()) for number, line in lines if line.split("#")[0].strip()))


def _parsed(path: Path, lines: Iterator[tuple[int, list[str]]]) -> Cube:
    keys: dict[str, tuple[float, ...]] = {}
    rows: list[tuple[float, ...]] = []
    for number, words in lines:
        if words[0].upper() == "TITLE":
            continue
        named = words[0][0].isalpha()
        try:
            values = tuple(float(word) for word in words[named:])
        except ValueError as error:
            raise SourceError(f"{path}, line {number}: {' '.join(words)[:80]!r} is no line of a .cube file") from error
        if named:
            keys[words[0].upper()] = values
        else:
            rows.append(values)
    return _cube(path, keys, rows)


def _cube(path: Path, keys: dict[str, tuple[float, ...]], rows: list[tuple[float, ...]]) -> Cube:
    side, entries = (int(keys.get(f"LUT_{kind}_SIZE", (0,))[0]) for kind in ("3D", "1D"))
    wanted = side**3 if side else entries
    if not (2 <= side <= MAX_SIDE or (not side and 2 <= entries <= MAX_ENTRIES)):
        raise SourceError(
            f"{path}: no .cube file: it needs LUT_1D_SIZE (2 to {MAX_ENTRIES}) or LUT_3D_SIZE (2 to {MAX_SIDE})"
        )
    if len(rows) != wanted or any(len(row) != 3 for row in rows) or not np.isfinite(rows).all():
        raise SourceError(f"{path}: {len(rows)} lines of numbers, {wanted} of three numbers each are wanted")
    low, high = keys.get("DOMAIN_MIN", (0.0, 0.0, 0.0)), keys.get("DOMAIN_MAX", (1.0, 1.0, 1.0))
    if not (len(low) == len(high) == 3 and all(a < b for a, b in zip(low, high, strict=True))):
        raise SourceError(f"{path}: DOMAIN_MIN and DOMAIN_MAX are three numbers each, the first below the second")
    table = np.asarray(rows, np.float32)
    if side:  # Red runs fastest in the file.
        table = np.ascontiguousarray(table.reshape(side, side, side, 3).transpose(2, 1, 0, 3))
    return Cube(table, (low[0], low[1], low[2]), (high[0], high[1], high[2]))


# -- looking up -------------------------------------------------------------------------------------------------------


def _in_curves(table: npt.NDArray[np.float32], places: Colours) -> Colours:
    grid = np.linspace(0, 1, len(table))
    columns = [np.interp(places[:, channel], grid, table[:, channel]) for channel in range(3)]
    return np.stack(columns, axis=1).astype(np.float32)


def _in_grid(grid: Grid, places: Colours) -> Colours:
    """Tetrahedral, as grading programs do it: from the corner nearest to black to the one nearest to white along the
    edges of the channels, that with the largest part first. Greys are made of the entries of greys alone."""
    side = len(grid)
    scaled = places * np.float32(side - 1)
    first = np.minimum(scaled.astype(np.int32), side - 2)
    part = scaled - first
    order = np.argsort(-part, axis=1)
    part = np.take_along_axis(part, order, axis=1)
    strides = np.array([side * side, side, 1], np.int32)
    corner, flat = first @ strides, grid.reshape(-1, 3)
    found = flat[corner] * (1 - part[:, :1])
    for step in range(3):
        corner = corner + strides[order[:, step]]
        share = part[:, step] - part[:, step + 1] if step < 2 else part[:, 2]
        found += flat[corner] * share[:, None]
    return np.asarray(found, np.float32)


# -- the way back -----------------------------------------------------------------------------------------------------


def _inverse_of(cube: Cube) -> Any:
    """From what the editor sees to log: curves where the table is curves, else a grid of its own."""
    if not cube.is_grid:
        return _InverseCurves(cube)
    return Cube(_solved(cube).reshape(*(_INVERSE_SIDE,) * 3, 3), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


class _InverseCurves:
    def __init__(self, cube: Cube) -> None:
        log = np.linspace(cube.low, cube.high, len(cube.table))
        seen = np.clip(np.maximum.accumulate(cube.table, axis=0), 0, 1)
        self._curves = [_between_clips(seen[:, channel], log[:, channel]) for channel in range(3)]

    def __call__(self, colours: Colours) -> Colours:
        columns = [np.interp(colours[:, channel], *curve) for channel, curve in enumerate(self._curves)]
        return np.asarray(np.clip(np.stack(columns, axis=1), 0, 1), np.float32)


def _between_clips(seen: npt.NDArray[Any], log: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Without what is clipped below and above: black and white are where the clipping begins."""
    part = slice(np.searchsorted(seen, seen[0], side="right") - 1, np.searchsorted(seen, seen[-1]) + 1)
    return seen[part], log[part]


def _solved(cube: Cube) -> Colours:
    """The colours in log that the table maps to each entry of the inverse, or nearest to it: the method of Levenberg
    and Marquardt, each colour with a damping of its own, from the sample that comes nearest."""
    seen, log = _even(_INVERSE_SIDE), _started(cube)
    off, damping = seen - cube(log), np.full((len(seen), 1, 1), 1e-2)
    for _ in range(_STEPS):
        slope = _slope(cube, log)
        normal = np.swapaxes(slope, 1, 2) @ slope + damping * np.eye(3)
        move = np.linalg.solve(normal, np.swapaxes(slope, 1, 2) @ off[..., None].astype(np.float64))[..., 0]
        tried = np.asarray(np.clip(log + move, 0, 1), np.float32)
        missed = seen - cube(tried)
        nearer = (missed**2).sum(axis=1) < (off**2).sum(axis=1)
        log[nearer], off[nearer] = tried[nearer], missed[nearer]
        damping *= np.where(nearer, 0.2, 5.0)[:, None, None]
    return log


def _slope(cube: Cube, log: Colours) -> npt.NDArray[np.float64]:
    """(N, 3, 3): how each channel that is seen follows each channel of log."""
    step = np.float32(1 / 512)
    moves = np.eye(3, dtype=np.float32) * step
    return np.stack([(cube(log + move) - cube(log - move)) / (2 * step) for move in moves], axis=-1).astype(np.float64)


def _started(cube: Cube) -> Colours:
    """For each entry of the inverse the sample of the table that is seen nearest to it; where there is none, what the
    entries around it have: a table reaches a part of what can be seen."""
    log = _even(_FORWARD_SIDE)
    seen = cube(log) * np.float32(_INVERSE_SIDE - 1)
    nearest = np.rint(seen).astype(np.int64)
    cells = nearest @ np.array([_INVERSE_SIDE**2, _INVERSE_SIDE, 1])
    order = np.lexsort((((seen - nearest) ** 2).sum(axis=1), cells))
    found, place = np.unique(cells[order], return_index=True)
    grid = np.full((_INVERSE_SIDE**3, 3), np.nan, np.float32)
    grid[found] = log[order[place]]
    return _grown(grid.reshape(*(_INVERSE_SIDE,) * 3, 3)).reshape(-1, 3)


def _grown(grid: Grid) -> Grid:
    """The same with entries that are not numbers filled from their neighbours, outwards."""
    while (empty := np.isnan(grid[..., 0])).any():
        around = np.pad(grid, ((1, 1), (1, 1), (1, 1), (0, 0)), constant_values=np.nan)
        sides = np.stack([np.roll(around, shift, axis) for axis in range(3) for shift in (-1, 1)])[:, 1:-1, 1:-1, 1:-1]
        known = ~np.isnan(sides)
        total, count = np.where(known, sides, 0).sum(axis=0), known.sum(axis=0)
        reached = empty & (count[..., 0] > 0)
        grid[reached] = total[reached] / count[reached]
    return grid


def _even(side: int) -> Colours:
    """(side^3, 3): an even grid of colours."""
    axis = np.linspace(0, 1, side, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)


def _samples(cube: Cube) -> Colours:
    """Greys from black to white, and colours around each as pictures have them: no table is exact everywhere."""
    shifts = np.linspace(-_CHROMA, _CHROMA, 5, dtype=np.float32)
    colours = np.stack(np.meshgrid(shifts, shifts, shifts, indexing="ij"), axis=-1).reshape(-1, 3)
    greys = np.linspace(0.02, 0.98, 200, dtype=np.float32)[:, None, None]
    found = np.clip(greys + (colours if cube.is_grid else np.zeros((1, 3), np.float32)), 0, 1)
    return np.asarray(found.reshape(-1, 3), np.float32)


def _turns_back(cube: Cube) -> bool:
    """Whether a channel falls while its input rises, or never rises: on its own curve, or on the greys of a grid."""
    axis = np.linspace(0, 1, 1025, dtype=np.float32)
    greys = cube(np.repeat(axis[:, None], 3, axis=1))
    steps = np.diff(greys, axis=0)
    return bool((steps < -1e-3).any() or (greys[-1] - greys[0] < 0.1).any())
