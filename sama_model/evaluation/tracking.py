"""How far from where they should be the things of an edited clip are, in pixels.

A thing is sought near its true place by what it looks like there: in the exact target, or, where the edit was to change
its look, as it was in the source. It is found where the result is twice as near to that as bare ground would be. So
motion can have been kept although a colour is wrong, and a frame in which nothing is found says nothing of motion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from metrics.displacement import best_match
from sama_model.training.world.drawing import Drawn, draw
from sama_model.training.world.rules import WorldRules
from sama_model.training.world.samples import Plan
from sama_model.training.world.scene import Scene

Frames = npt.NDArray[np.uint8]
Cover = npt.NDArray[np.float32]

REACH = 8
"""Pixels along each axis within which a thing is sought."""
SHOWN = 0.6
"""Share of a thing that must be visible in a frame, of what is visible of it in its best one."""
NEAR = 0.5
"""Largest difference to what is sought, over that of bare ground to it."""


@dataclass(frozen=True)
class Appearance:
    """A thing as a clip shows it."""

    frames: Frames
    cover: Cover
    """(T, H, W) in 0..1."""
    bare: Frames
    """The clip without it."""

    def error(self, result: Frames, frame: int) -> float | None:
        """Pixels between where the result shows it in a frame and where it is; None if it is not found."""
        cover, known = self.cover[frame], self.frames[frame]
        contrast = np.square(known.astype(np.float32) - self.bare[frame])[cover > 0].mean() ** 0.5
        true, found = (best_match(clip[frame], known, cover, REACH) for clip in (self.frames, result))
        if found.missed > NEAR * contrast:
            return None
        return float(np.hypot(found.x - true.x, found.y - true.y))

    def frames_shown(self) -> list[int]:
        """Frames in which enough of it is visible."""
        seen = self.cover.sum(axis=(1, 2))
        return [int(frame) for frame in np.nonzero((seen >= SHOWN * seen.max()) & (seen > 0))[0]]


@dataclass(frozen=True)
class Trajectory:
    """How the things of one clip moved."""

    error: float | None
    """Mean over all frames in which a thing was found, in pixels; None if nothing was."""
    found: float | None
    """Share of the frames, of all things, in which they were; None in a clip without things."""


def trajectory(result: Frames, tracks: Sequence[tuple[Appearance, ...]]) -> Trajectory:
    """`tracks`: for each thing its appearances, the target's first, which decides in which frames it is sought."""
    errors = [nearest(result, track, frame) for track in tracks for frame in track[0].frames_shown()]
    found = [error for error in errors if error is not None]
    return Trajectory(
        error=sum(found) / len(found) if found else None, found=len(found) / len(errors) if errors else None
    )


def nearest(result: Frames, track: tuple[Appearance, ...], frame: int) -> float | None:
    """The error of the first appearance that is found."""
    for appearance in track:
        if appearance.cover[frame].any() and (error := appearance.error(result, frame)) is not None:
            return error
    return None


# -- of a plan --------------------------------------------------------------------------------------------------------


def tracks_of(plan: Plan, rules: WorldRules) -> tuple[tuple[Appearance, ...], ...]:
    """Every thing of the target, by its look there and, if the source has it with another look, by that."""
    target, source = draw(plan.target, rules), draw(plan.source, rules)
    tracks = []
    for i, thing in enumerate(plan.target.things):
        seen = [appearance(plan.target, target, i, rules)]
        for j, before in enumerate(plan.source.things):
            changed = before != thing or plan.source.style != plan.target.style
            if before.motion == thing.motion and changed:
                seen.append(appearance(plan.source, source, j, rules))
        tracks.append(tuple(seen))
    return tuple(tracks)


def appearance(scene: Scene, clip: Drawn, i: int, rules: WorldRules) -> Appearance:
    """Thing `i` of a drawn scene."""
    without = replace(scene, things=(*scene.things[:i], *scene.things[i + 1 :]))
    return Appearance(clip.frames, clip.covers[i], draw(without, rules).frames)
