"""How code values mean colour: reading a file's tags, the stated assumption where there are none, and the matrices.

Names are ffmpeg's. Works on numbers and records; opens no file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edits.errors import SourceError
from edits.media.records import Colour

_UNSTATED = frozenset({-1, 0, 2, 3})
"""Code points of ITU-T H.273 that say nothing about primaries and transfer: reserved ones, and 2, 'unspecified'."""

MATRICES = {"gbr": 0, "bt709": 1, "fcc": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "bt2020nc": 9}
_LUMA = {
    "bt709": (0.2126, 0.0722),
    "fcc": (0.30, 0.11),
    "bt470bg": (0.299, 0.114),
    "smpte170m": (0.299, 0.114),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
}
"""Kr and Kb of each matrix (ITU-T H.273, table 4)."""

PRIMARIES = {
    "bt709": 1,
    "bt470m": 4,
    "bt470bg": 5,
    "smpte170m": 6,
    "smpte240m": 7,
    "film": 8,
    "bt2020": 9,
    "smpte428": 10,
    "smpte431": 11,
    "smpte432": 12,
    "ebu3213": 22,
}
TRANSFERS = {
    "bt709": 1,
    "gamma22": 4,
    "gamma28": 5,
    "smpte170m": 6,
    "smpte240m": 7,
    "linear": 8,
    "log100": 9,
    "log316": 10,
    "iec61966-2-4": 11,
    "bt1361e": 12,
    "iec61966-2-1": 13,
    "bt2020-10": 14,
    "bt2020-12": 15,
    "smpte2084": 16,
    "smpte428": 17,
    "arib-std-b67": 18,
}
CODES = {"matrix": MATRICES, "primaries": PRIMARIES, "transfer": TRANSFERS, "range": {"tv": 1, "pc": 2}}
"""Numbers by name, for each of a picture's tags."""
_COMPANIONS = {
    "gbr": ("bt709", "iec61966-2-1"),
    "bt709": ("bt709", "bt709"),
    "fcc": ("bt470m", "smpte170m"),
    "bt470bg": ("bt470bg", "smpte170m"),
    "smpte170m": ("smpte170m", "smpte170m"),
    "smpte240m": ("smpte240m", "smpte240m"),
    "bt2020nc": ("bt2020", "bt2020-10"),
}
"""Primaries and transfer that go with a matrix when the file states only that."""

HD_HEIGHT = 720
"""Untagged pictures of at least this height are read as BT.709, smaller ones as BT.601 (SMPTE 170M)."""


@dataclass(frozen=True)
class Tags:
    """A picture's colour tags as numbers of ITU-T H.273, 2 for 'unspecified'; `range` is 1 (tv), 2 (pc) or 0."""

    matrix: int
    primaries: int
    transfer: int
    range: int


def interpretation(tags: Tags, height: int, source: str) -> Colour:
    """What the tags say, completed by the stated assumptions; `source` goes into errors. RGB has the matrix 0.

    Raises:
        SourceError: a matrix that is not Y'CbCr with constant coefficients.
    """
    matrix = _matrix(tags.matrix, height, source)
    primaries, transfer = _COMPANIONS[matrix]
    assumed = {
        "matrix": tags.matrix == 2,
        "primaries": tags.primaries in _UNSTATED,
        "transfer": tags.transfer in _UNSTATED,
        "range": tags.range not in (1, 2),
    }
    return Colour(
        matrix=matrix,
        primaries=primaries if assumed["primaries"] else _named(PRIMARIES, tags.primaries, "primaries", source),
        transfer=transfer if assumed["transfer"] else _named(TRANSFERS, tags.transfer, "transfer", source),
        range="pc" if tags.range == 2 else "tv",
        assumed=tuple(name for name, missing in assumed.items() if missing),
    )


def _matrix(number: int, height: int, source: str) -> str:
    if number == 2:
        return "bt709" if height >= HD_HEIGHT else "smpte170m"
    return _named(MATRICES, number, "matrix", source)


def _named(table: dict[str, int], number: int, what: str, source: str) -> str:
    for name, value in table.items():
        if value == number:
            return name
    raise SourceError(
        f"{source}: colour {what} number {number} (ITU-T H.273) is not supported yet; known are {', '.join(table)}"
    )


def tags_of(colour: Colour) -> Tags:
    """The numbers that a deliverable is tagged with."""
    return Tags(
        MATRICES[colour.matrix],
        PRIMARIES[colour.primaries],
        TRANSFERS[colour.transfer],
        2 if colour.range == "pc" else 1,
    )


def named(tag: str, number: int) -> str:
    """What a tag's number means, for people: ffmpeg's name and the number."""
    found = [name for name, value in CODES[tag].items() if value == number]
    return f"{found[0]} ({number})" if found else f"not stated ({number})"


# -- matrices ---------------------------------------------------------------------------------------------------------


def _analysis(matrix: str) -> npt.NDArray[np.float64]:
    """(3, 3) from R'G'B' in [0, 1] to Y' in [0, 1] and Cb, Cr in [-0.5, 0.5] (ITU-T H.273, equations 38 to 43).

    `gbr` only puts G, B and R into the order of the planes (equations 47 to 49).
    """
    if matrix == "gbr":
        return np.eye(3)[[1, 2, 0]]
    kr, kb = _LUMA[matrix]
    luma = np.array([kr, 1 - kr - kb, kb])
    cb = (np.array([0, 0, 1]) - luma) / (2 * (1 - kb))
    cr = (np.array([1, 0, 0]) - luma) / (2 * (1 - kr))
    return np.stack([luma, cb, cr])


def swing(colour: Colour, depth: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(scale, offset) of Y', Cb, Cr code values of `depth` bits (ITU-T H.273, equations 29 to 34)."""
    middle = 1 << (depth - 1)
    if colour.matrix == "gbr":
        return _swing_of_rgb(colour, depth)
    if colour.range == "pc":
        peak = (1 << depth) - 1
        return np.array([peak, peak, peak], float), np.array([0, middle, middle], float)
    step = 1 << (depth - 8)
    return np.array([219, 224, 224], float) * step, np.array([16 * step, middle, middle], float)


def _swing_of_rgb(colour: Colour, depth: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """All three planes as luma (ITU-T H.273, equations 20 to 25)."""
    if colour.range == "pc":
        return np.full(3, (1 << depth) - 1, float), np.zeros(3)
    step = 1 << (depth - 8)
    return np.full(3, 219 * step, float), np.full(3, 16 * step, float)


def yuv_to_rgb(colour: Colour, depth: int) -> npt.NDArray[np.float32]:
    """(3, 4) affine map from code values of `depth` bits to R, G, B in [0, 255]; the last column is the offset.

    Of an RGB picture (`gbr`) the code values are those of its planes G, B, R.
    """
    scale, offset = swing(colour, depth)
    linear = 255 * np.linalg.inv(_analysis(colour.matrix)) / scale
    return np.column_stack([linear, -linear @ offset]).astype(np.float32)


def luma_of(colour: Colour, depth: int) -> npt.NDArray[np.float32]:
    """(4,) weights of the three planes and an offset that give luma in [0, 255] from code values of `depth` bits."""
    if colour.matrix == "gbr":
        kr, kb = _LUMA["bt2020nc" if colour.primaries == "bt2020" else "bt709"]
        weights: npt.NDArray[np.float32] = np.array([kr, 1 - kr - kb, kb], np.float32) @ yuv_to_rgb(colour, depth)
        return weights
    scale, offset = swing(colour, depth)
    return np.array([255 / scale[0], 0, 0, -255 * offset[0] / scale[0]], np.float32)


def rgb_to_yuv(colour: Colour, depth: int) -> npt.NDArray[np.float32]:
    """(3, 4) affine map from R, G, B in [0, 255] to code values of `depth` bits; differences leave the offset out."""
    scale, offset = swing(colour, depth)
    return np.column_stack([scale[:, None] * _analysis(colour.matrix) / 255, offset]).astype(np.float32)
