"""Where shots begin: PySceneDetect's detector and the middles of dissolves, fed from a decode that happens anyway."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
from scenedetect import FrameTimecode
from scenedetect.detectors import ContentDetector

from edits.media.colour import yuv_to_rgb
from edits.media.dissolves import DissolveFinder
from edits.media.formats import PixelFormat, Plane, planar, planes
from edits.media.records import Colour

_SIDE = 256
"""Pixels of the longer side at which PySceneDetect compares frames by default."""

_CLOCK = Fraction(25)
"""The detector wants a rate to count frames with; cuts are read back as frame numbers, so any will do."""


class CutFinder:
    """Detector with PySceneDetect's own defaults (threshold 27, shots of at least 15 frames)."""

    def __init__(self, form: PixelFormat, colour: Colour, width: int, height: int) -> None:
        factor = max(1.0, max(width, height) / _SIDE)
        self._size = (max(1, round(width / factor)), max(1, round(height / factor)))
        self._shift = form.depth - 8
        self._to_bgr = np.ascontiguousarray(yuv_to_rgb(colour, 8)[::-1])
        self._detector = ContentDetector()
        self._dissolves = DissolveFinder()
        self._cuts: set[int] = set()
        self._last: FrameTimecode | None = None

    def add(self, number: int, frame: av.VideoFrame) -> None:
        """Look at frame `number`; frames come in order."""
        small = cv2.merge([self._small(plane) for plane in planes(planar(frame))[:3]])
        self._last = FrameTimecode(number, fps=_CLOCK)
        picture = np.asarray(cv2.transform(small, self._to_bgr), np.uint8)
        self._dissolves.add(number, picture)
        self._note(self._detector.process_frame(self._last, picture))

    def _small(self, plane: Plane) -> Plane:
        """Few pixels are enough, and shrinking the planes before mixing them costs a twentieth of the other order."""
        small: Plane = np.asarray(cv2.resize(plane, self._size, interpolation=cv2.INTER_LINEAR))
        return (small >> self._shift).astype(np.uint8) if self._shift else small

    def _note(self, found: list[FrameTimecode]) -> None:
        self._cuts.update(cut.frame_num for cut in found)

    def cuts(self) -> tuple[int, ...]:
        """Numbers of the frames that open a shot, without 0, ascending. Call once, after the last frame."""
        if self._last is not None:
            self._note(self._detector.post_process(self._last))
        cuts = tuple(sorted(self._cuts - {0}))
        return tuple(sorted({*cuts, *self._dissolves.borders(cuts)}))
