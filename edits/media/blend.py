"""How much of which chunk each frame holds. Pure arithmetic on frame numbers.

Each later chunk of a shot takes over from those before it: no weight on its `lead` first frames (the model renders
the opening of a shot there), then a linear ramp, then all of it. Takeovers are applied in order of start, so that the
weights of a frame sum to one whatever overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edits.errors import VerificationError
from edits.media.records import StitchChunk


@dataclass(frozen=True)
class Takeover:
    """When a chunk takes over: weight 0 before `first`, a ramp of `length` frames, 1 after it."""

    chunk: int
    """Place in the sequence of chunks."""
    first: int
    length: int
    start: int
    end: int

    def weight(self, frame: int) -> float:
        """Weight against all earlier chunks: (i+1)/(length+1) on the ramp, where no frame is wholly one chunk's."""
        if not self.start <= frame < self.end or frame < self.first:
            return 0.0
        return min(1.0, (frame - self.first + 1) / (self.length + 1))


def takeovers(chunks: Sequence[StitchChunk], start: int, end: int, blend: int) -> tuple[Takeover, ...]:
    """The takeover of each chunk; chunks come in order of start and tile `[start, end)`.

    Raises:
        VerificationError: a gap, an overlap across a cut, or chunks that do not cover the range.
    """
    found: list[Takeover] = []
    covered, shot = start, None
    for place, chunk in enumerate(chunks):
        if chunk.start > covered or (shot is None and chunk.start != start):
            raise VerificationError(
                f"no edited chunk covers frames {covered} to {chunk.start - 1}; edit the missing ones"
            )
        if chunk.shot != shot and chunk.start != covered:
            raise VerificationError(
                f"the chunk of frames {chunk.start} to {chunk.end - 1} overlaps the shot before its own; "
                "plan the video anew"
            )
        overlap = covered - chunk.start if chunk.shot == shot else 0
        lead = min(chunk.lead, overlap)
        length = min(blend, overlap - lead)
        found.append(Takeover(place, chunk.start + lead, length, chunk.start, chunk.end))
        covered, shot = max(covered, chunk.end), chunk.shot
    if covered != end:
        raise VerificationError(f"the edited chunks end at frame {covered}, the range at {end}; edit the missing ones")
    return tuple(found)


def shares(active: Sequence[Takeover], frame: int) -> tuple[tuple[int, float], ...]:
    """(chunk, weight) of each chunk with a part in `frame`, in order of start; weights sum to one.

    `active` are the takeovers, in order, that reach this frame; others do no harm.
    """
    left = 1.0
    found: list[tuple[int, float]] = []
    for takeover in reversed(active):
        if left <= 0.0:
            break
        weight = takeover.weight(frame) * left
        if weight > 0.0:
            found.append((takeover.chunk, weight))
            left -= weight
    return tuple(reversed(found))
