"""Shots edited otherwise than their row says, `3 seed=7; 5 instruction=make it snow`: text to records and back.

People count shots from 1, as reports do; records count from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from edits.columns import MAX_SEED, clean_instruction
from edits.errors import CellError
from edits.job import EditJob, ShotEdit

HOW = "Write a shot's number and what is other for it: 3 seed=7; 5 instruction=make it snow."
_ENTRY = re.compile(r"([0-9]{1,6})((?:\s+seed\s*=\s*[0-9]{1,20})?)((?:\s+instruction\s*=.*)?)", re.DOTALL)


def parse_shots(text: str) -> tuple[ShotEdit, ...]:
    """The shots of one cell, in order.

    Raises:
        CellError: not of that form, a shot named twice, a seed out of range.
    """
    found: dict[int, ShotEdit] = {}
    for entry in text.split(";"):
        shot = _entry(entry.strip())
        if shot.shot in found:
            raise CellError(f"shot {shot.shot + 1} is named twice.", "Say all that is other for it in one place.")
        found[shot.shot] = shot
    return tuple(found[number] for number in sorted(found))


def _entry(text: str) -> ShotEdit:
    match = _ENTRY.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        raise CellError(f"'{text}' does not say what is other for which shot.", HOW)
    number = int(match[1])
    if number < 1:
        raise CellError("shots are counted from 1.", HOW)
    seed = int(match[2].partition("=")[2]) if match[2] else None
    if seed is not None and seed > MAX_SEED:
        raise CellError("the seed is out of range.", f"Write a whole number from 0 to {MAX_SEED}.")
    instruction = clean_instruction(match[3].partition("=")[2]) if match[3] else ""
    return ShotEdit(number - 1, seed, instruction)


def written_shots(shots: Iterable[ShotEdit]) -> str:
    """The cell that means `shots`.

    Raises:
        CellError: an instruction that the cell cannot hold.
    """
    entries = []
    for shot in shots:
        if ";" in shot.instruction:
            raise CellError("a semicolon ends what is said of a shot.", "Word the instruction without one.")
        seed = "" if shot.seed is None else f" seed={shot.seed}"
        instruction = f" instruction={shot.instruction}" if shot.instruction else ""
        entries.append(f"{shot.shot + 1}{seed}{instruction}")
    return "; ".join(entries)


def with_shot(shots: Sequence[ShotEdit], changed: ShotEdit) -> tuple[ShotEdit, ...]:
    """`shots` with one of them changed; what is not said of it stays as it was."""
    others = {shot.shot: shot for shot in shots}
    before = others.get(changed.shot, ShotEdit(changed.shot))
    others[changed.shot] = ShotEdit(
        changed.shot,
        before.seed if changed.seed is None else changed.seed,
        changed.instruction or before.instruction,
    )
    return tuple(others[number] for number in sorted(others))


def asked_of(job: EditJob, shot: int) -> tuple[str, int]:
    """(instruction, seed) of a shot of the job."""
    for other in job.shots:
        if other.shot == shot:
            return other.instruction or job.instruction, job.seed if other.seed is None else other.seed
    return job.instruction, job.seed


def instructions_of(job: EditJob) -> str:
    """All that the job was told, for people: `make it snow; shot 3: make it rain`."""
    others = (f"shot {other.shot + 1}: {other.instruction}" for other in job.shots if other.instruction)
    return "; ".join([job.instruction, *others])
