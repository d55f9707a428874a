"""Motion alignment (models.md 1.2): what is done to a source clip so that only who understands motion can undo it.

frames (T, H, W, 3) uint8 -> the same shape. The target is never touched; the pretext is told before the caption.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]

MASKED = 0.3
"""Share of the frames that cube inpainting paints black."""
SPEED = 2.0
"""Speed perturbation, the paper's. The official code has 0.5 as well, and takes the two in turn."""
PARTS = (2, 2, 2)
"""Parts along T, H and W that tube shuffle exchanges, the paper's; the official code's default is 4 each."""


@dataclass(frozen=True)
class Pretext:
    """One pretext task."""

    name: str
    weight: int
    """How often it is drawn, beside the others'."""
    instruction: str
    """Stands before the caption; empty for none."""
    perturb: Callable[[Frames, np.random.Generator], Frames]


def unperturbed(frames: Frames, rng: np.random.Generator) -> Frames:
    return frames


def cube_inpainting(frames: Frames, rng: np.random.Generator) -> Frames:
    """One run of round(0.3 T) whole frames painted black; it begins in 1..T-k, so that frame 0 is never hidden."""
    count = len(frames)
    hidden = round(MASKED * count)
    if not 0 < hidden < count:
        return frames
    start = int(rng.integers(1, count - hidden + 1))
    painted = frames.copy()
    painted[start : start + hidden] = 0
    return painted


def speed_perturbation(frames: Frames, rng: np.random.Generator) -> Frames:
    """Twice as fast, and then still: frame i shows min(2i, T-1), so that source and target keep one length."""
    last = len(frames) - 1
    shown = np.minimum(np.round(np.arange(len(frames)) * SPEED).astype(np.intp), last)
    return np.asarray(frames[shown], dtype=np.uint8)


def tube_shuffle(frames: Frames, rng: np.random.Generator) -> Frames:
    """Blocks of T, H and W in two parts each (which differ by at most one) change places among those of their shape."""
    if any(size < parts for size, parts in zip(frames.shape[:3], PARTS, strict=True)):
        return frames
    edges = [cut(size, parts) for size, parts in zip(frames.shape[:3], PARTS, strict=True)]
    blocks = [tuple(axis[i] for axis, i in zip(edges, place, strict=True)) for place in np.ndindex(*PARTS)]
    shuffled = np.empty_like(frames)
    alike: dict[tuple[int, ...], list[tuple[slice, ...]]] = {}
    for block in blocks:
        alike.setdefault(frames[block].shape, []).append(block)
    for group in alike.values():
        for place, taken in zip(group, rng.permutation(len(group)), strict=True):
            shuffled[place] = frames[group[taken]]
    return shuffled


def cut(size: int, parts: int) -> list[slice]:
    """`parts` runs that cover 0..size, the longer ones first."""
    sizes = [size // parts + (i < size % parts) for i in range(parts)]
    ends = np.cumsum(sizes).tolist()
    return [slice(end - each, end) for end, each in zip(ends, sizes, strict=True)]


PRETEXTS = (
    Pretext("none", 1, "", unperturbed),
    Pretext("cube", 2, "[Complete the missing regions in the video.]", cube_inpainting),
    Pretext("speed", 3, "[Restore the video to normal playback speed.]", speed_perturbation),
    Pretext("shuffle", 4, "[Restore the correct spatio-temporal order of the video segments.]", tube_shuffle),
)
"""The four, in the paper's ratio 1 : 2 : 3 : 4."""


def drawn_pretext(rng: np.random.Generator) -> Pretext:
    """One of them, by its weight."""
    weights = np.array([pretext.weight for pretext in PRETEXTS], dtype=np.float64)
    return PRETEXTS[int(rng.choice(len(PRETEXTS), p=weights / weights.sum()))]


def told(pretext: Pretext, caption: str) -> str:
    """The caption with the pretext's sentence in front of it."""
    return f"{pretext.instruction} {caption}".strip()
