"""HDR grading metadata in a PNG file: the chunks `mDCV` and `cLLI` (Portable Network Graphics, third edition).

ffmpeg's encoder states what frames say, and frames made here say nothing; its `mDCV` of FFmpeg 9 has the numbers in
wrong places besides. So the chunks are put into each finished picture.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from edits.media.boxes import CHROMATICITY_STEPS, LIGHT_STEPS
from edits.media.records import Mastering

_HEADER = 8 + 25
"""Bytes of the signature and of the chunk `IHDR`, which comes first."""


def state_in_pictures(folder: Path, grading: Mastering) -> None:
    """Have every PNG file in `folder` state `grading`; both chunks have to come before the pixels."""
    added = _stated(grading)
    for path in folder.iterdir():
        picture = path.read_bytes()
        path.write_bytes(picture[:_HEADER] + added + picture[_HEADER:])


def _stated(grading: Mastering) -> bytes:
    """`mDCV` has red, green, blue and white, then the brightest light and the darkest."""
    found = b""
    if grading.primaries and grading.luminance:
        points = [round(value * CHROMATICITY_STEPS) for value in grading.primaries]
        darkest, brightest = (round(light * LIGHT_STEPS) for light in grading.luminance)
        found += _chunk(b"mDCV", struct.pack(">8H2I", *points, brightest, darkest))
    if grading.light_level:
        found += _chunk(b"cLLI", struct.pack(">2I", *(light * LIGHT_STEPS for light in grading.light_level)))
    return found


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
