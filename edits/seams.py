"""How the chunks of a shot are joined, as rows write it: `blend`, `blend:8` or `joint`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edits.errors import CellError

BLEND = 6
"""Frames of a blend where a row does not say: what showed least between real edits (decision 0006)."""
MAX_BLEND = 64


@dataclass(frozen=True)
class Seams:
    """One row's answer."""

    joint: bool = False
    """All chunks of a shot are edited as one."""
    blend: int = BLEND
    """Frames over which two chunks are mixed."""


USUAL = Seams()
"""What an empty cell means."""


def parse_seams(text: str) -> Seams:
    """
    Raises:
        CellError: none of the three forms, or more frames than `MAX_BLEND`.
    """
    if text == "joint":
        return Seams(joint=True)
    match = re.fullmatch(r"blend(?::([0-9]{1,4}))?", text)
    if match is None:
        raise CellError("no way to join chunks.", f"Write blend, blend:8 (frames, 0 to {MAX_BLEND}) or joint.")
    blend = BLEND if match[1] is None else int(match[1])
    if blend > MAX_BLEND:
        raise CellError(f"a blend of {blend} frames is too long.", f"Write {MAX_BLEND} or less.")
    return Seams(blend=blend)


def written_seams(seams: Seams) -> str:
    """The cell that means it."""
    return "joint" if seams.joint else f"blend:{seams.blend}"
