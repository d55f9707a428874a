"""From a scene to pixels: ground first, things from the back to the front, the style over all of it.

frames (T, H, W, 3) uint8        covers (things, T, H, W) float32 in 0..1: what of each thing can be seen
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sama_model.training.world.motion import path
from sama_model.training.world.rules import WORLD, WorldRules
from sama_model.training.world.scene import Scene, Thing
from sama_model.training.world.shapes import FINE, sprite
from sama_model.training.world.styles import styled
from sama_model.training.world.textures import SIDE, ground_texture

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Drawn:
    """A clip and where its things are."""

    frames: npt.NDArray[np.uint8]
    covers: Array


def draw(scene: Scene, rules: WorldRules = WORLD) -> Drawn:
    """All frames of a scene."""
    canvas = ground_frames(scene, rules)
    covers = np.zeros((len(scene.things), *canvas.shape[:3]), dtype=np.float32)
    for i, thing in enumerate(scene.things):
        lay(thing, canvas, covers[: i + 1], rules)
    frames = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    return Drawn(styled(scene.style, frames), covers)


def ground_frames(scene: Scene, rules: WorldRules) -> Array:
    """(T, H, W, 3) of the background alone, cut from its texture at parts of a pixel."""
    background = scene.background
    texture = ground_texture(rules, background.ground, background.variant)
    drift = next(ground.drift for ground in rules.grounds if ground.name == background.ground)
    pace = np.add(scene.camera, drift)
    corner = (np.array(background.offset) + np.arange(rules.frames)[:, None] * pace) % SIDE
    centres = corner + np.array([rules.width - 1, rules.height - 1]) / 2
    size = (rules.width, rules.height)
    cut = [cv2.getRectSubPix(texture, size, (float(x), float(y))) for x, y in centres]
    return np.stack(cut).astype(np.float32)


def lay(thing: Thing, canvas: Array, covers: Array, rules: WorldRules) -> None:
    """Draws one thing over all frames in place; its own cover is the last of `covers`, the others lose by it."""
    look = thing.look
    whole = sprite(rules, look.shape, look.colour, look.texture, look.size)
    centres, angles = path(thing.motion, rules)
    side = whole.shape[0] // FINE + 2
    for frame, ((x, y), angle) in enumerate(zip(centres.tolist(), angles.tolist(), strict=True)):
        left, top = round(x - side / 2), round(y - side / 2)
        if not (-side < top < rules.height and -side < left < rules.width):
            continue
        patch = turned(whole, angle, (x - left, y - top), side)
        rows, columns = slice(max(top, 0), top + side), slice(max(left, 0), left + side)
        inside = patch[max(-top, 0) : rules.height - top, max(-left, 0) : rules.width - left]
        cover = inside[..., 3]
        kept = 1 - cover
        covers[:-1, frame, rows, columns] *= kept
        covers[-1, frame, rows, columns] = cover
        picture = canvas[frame, rows, columns]
        picture *= kept[..., None]
        picture += inside[..., :3]


def turned(whole: Array, angle: float, centre: tuple[float, float], side: int) -> Array:
    """(side, side, 4): a sprite at picture size, turned by `angle` about `centre`."""
    cos, sin = FINE * np.cos(angle), FINE * np.sin(angle)
    middle = (whole.shape[0] - 1) / 2
    x, y = centre
    from_picture = np.array([[cos, sin, middle - cos * x - sin * y], [-sin, cos, middle + sin * x - cos * y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(whole, from_picture, (side, side), flags=flags).astype(np.float32, copy=False)
