"""Where a thing is at each frame: straight, bouncing off the picture's edges, turning, crossing in front of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sama_model.training.world.rules import WorldRules

Array = npt.NDArray[np.float32]

APART = 22.0
"""Pixels of the full world between things in the middle of a clip, unless one crosses another."""
TRIES = 8
"""Places that are drawn before one too near to another is taken."""
PASSING = 1.2
"""Pixels a frame between a crossing thing and the one that it crosses, at least: neither hides the other for long."""
EDGE = 8.0
"""Pixels of the full world from the picture's edge at which a bouncing thing turns round."""


@dataclass(frozen=True)
class Motion:
    """The path of a thing's centre, and its turning about it."""

    kind: str
    start: tuple[float, float]
    """At frame 0."""
    velocity: tuple[float, float]
    """Pixels a frame on the picture, the camera's pan in it."""
    spin: float
    """Radians a frame."""


def path(motion: Motion, rules: WorldRules) -> tuple[Array, Array]:
    """Centres (T, 2) and angles (T,) of all frames."""
    frame = np.arange(rules.frames, dtype=np.float32)
    start, velocity = (np.array(each, dtype=np.float32) for each in (motion.start, motion.velocity))
    centres = start + frame[:, None] * velocity
    if motion.kind == "bouncing":
        picture = np.array([rules.width, rules.height], dtype=np.float32)
        centres = bounced(centres, picture, EDGE * rules.scale)
    return centres, frame * np.float32(motion.spin)


def bounced(centres: Array, picture: Array, edge: float) -> Array:
    """Straight lines folded back at `edge` pixels from the picture's edges."""
    room = picture - 2 * edge
    folded: Array = room - np.abs((centres - edge) % (2 * room) - room) + edge
    return folded.astype(np.float32)


def standing(at: tuple[float, float], camera: tuple[float, float]) -> Motion:
    """Stands on the ground at `at` in frame 0: only the camera moves it."""
    return Motion("straight", at, (-camera[0], -camera[1]), 0.0)


def random_motion(
    rng: np.random.Generator, rules: WorldRules, camera: tuple[float, float], others: Sequence[Motion]
) -> Motion:
    """Any motion; a crossing one meets another thing in the middle of the clip, if there is one."""
    kind = rules.motions[int(rng.integers(len(rules.motions)))]
    met = others[int(rng.integers(len(others)))] if kind == "crossing" and others else None
    own = heading(rng, rules, kind)
    if met is not None and np.hypot(*np.subtract(np.subtract(own, camera), met.velocity)) < PASSING:
        own = (-own[0], -own[1])
    velocity = (own[0] - camera[0], own[1] - camera[1])
    half = (rules.frames - 1) / 2
    taken = [middle_of(other, half) for other in others]
    middle = free_place(rng, rules, taken) if met is None else middle_of(met, half)
    spin = float(rng.choice([-1, 1]) * rng.uniform(0.3, 1) * rules.spin) if kind == "turning" else 0.0
    return Motion(kind, (middle[0] - half * velocity[0], middle[1] - half * velocity[1]), velocity, spin)


def heading(rng: np.random.Generator, rules: WorldRules, kind: str) -> tuple[float, float]:
    """Pixels a frame over the ground: a turning thing is slow, a crossing one as fast as can be."""
    angle, pace = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1)
    speed = rules.speed * {"turning": 0.3 * pace, "crossing": 1.0}.get(kind, pace)
    return float(speed * np.cos(angle)), float(speed * np.sin(angle))


def middle_of(motion: Motion, half: float) -> tuple[float, float]:
    """Where a straight path is at the clip's middle."""
    return motion.start[0] + half * motion.velocity[0], motion.start[1] + half * motion.velocity[1]


def free_place(
    rng: np.random.Generator, rules: WorldRules, taken: Sequence[tuple[float, float]]
) -> tuple[float, float]:
    """A place well inside the picture, if it can be had apart from the others."""
    place = (0.0, 0.0)
    for _ in range(TRIES):
        place = (float(rng.uniform(0.15, 0.85)) * rules.width, float(rng.uniform(0.2, 0.8)) * rules.height)
        if all(np.hypot(place[0] - x, place[1] - y) >= APART * rules.scale for x, y in taken):
            break
    return place
