"""HDR grading metadata in the header of an MP4 or QuickTime file: the boxes `mdcv` and `clli` (ISO/IEC 14496-12).

The muxer writes them from what an encoder says, and only that of H.265 says anything: they are added to the finished
file. Its header lies at its end, so that nothing else moves.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from edits.errors import OutputError
from edits.media.records import Mastering
from edits.media.structure import boxes

CHROMATICITY_STEPS = 50_000
"""ST 2086 counts chromaticities in 1/50,000 and light in 1/10,000 cd/m2."""
LIGHT_STEPS = 10_000

_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
_ENTRY_HEADER = 86
"""Bytes of a VisualSampleEntry before the first box in it."""


def state_grading(path: Path, grading: Mastering) -> None:
    """Add what `grading` says to every picture track of the file.

    Raises:
        OutputError: the file's header is not its last box: it was not written here.
    """
    with path.open("r+b") as file:
        start, length = _header(file, path)
        file.seek(start)
        grown = _grown(file.read(length), _stated(grading))
        file.seek(start)
        file.write(grown)


def _header(file: BinaryIO, path: Path) -> tuple[int, int]:
    size = path.stat().st_size
    for start, length, kind in boxes(file, size):
        if kind == b"moov" and start + length == size:
            return start, length
    raise OutputError(f"{path}: has no header at its end, HDR metadata cannot be added to it")


def steps_of(grading: Mastering) -> Mastering:
    """What is left of `grading` when its numbers are rounded to the steps that files count in."""
    return Mastering(
        primaries=tuple(Fraction(round(value * CHROMATICITY_STEPS), CHROMATICITY_STEPS) for value in grading.primaries),
        luminance=tuple(Fraction(round(value * LIGHT_STEPS), LIGHT_STEPS) for value in grading.luminance),
        light_level=grading.light_level,
    )


def _stated(grading: Mastering) -> bytes:
    """The boxes. `mdcv` has green, blue and red, then white, then the brightest light and the darkest."""
    found = b""
    if grading.primaries and grading.luminance:
        red, green, blue, white = (grading.primaries[at : at + 2] for at in (0, 2, 4, 6))
        points = [round(value * CHROMATICITY_STEPS) for value in (*green, *blue, *red, *white)]
        darkest, brightest = (round(light * LIGHT_STEPS) for light in grading.luminance)
        found += _boxed(b"mdcv", struct.pack(">8H2I", *points, brightest, darkest))
    if grading.light_level:
        found += _boxed(b"clli", struct.pack(">2H", *grading.light_level))
    return found


def _boxed(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def _grown(box: bytes, added: bytes) -> bytes:
    """`box` with `added` at the end of every sample description of pictures in it."""
    kind, children = box[4:8], list(_children(box[8:]))
    if kind == b"minf" and not any(child[4:8] == b"vmhd" for child in children):
        return box
    if kind == b"stsd":
        return _boxed(kind, box[8:16] + b"".join(_described(entry, added) for entry in _children(box[16:])))
    return _boxed(kind, b"".join(_grown(child, added) for child in children)) if kind in _PARENTS else box


def _described(entry: bytes, added: bytes) -> bytes:
    """A sample description with `added` after its last box; some end in zeros, which stay the end."""
    inner = list(_children(entry[_ENTRY_HEADER:]))
    last = len(inner) - (bool(inner) and not inner[-1][4:8].strip(b"\0"))
    return _boxed(entry[4:8], entry[8:_ENTRY_HEADER] + b"".join((*inner[:last], added, *inner[last:])))


def _children(content: bytes) -> Iterator[bytes]:
    """Box by box; what is left and is no box comes last."""
    start = 0
    while start + 8 <= len(content):
        length = int.from_bytes(content[start : start + 4], "big")
        if not 8 <= length <= len(content) - start:
            break
        yield content[start : start + length]
        start += length
    if start < len(content):
        yield content[start:]
