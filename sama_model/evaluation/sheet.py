"""A picture of edited samples: for each, the frames of source, result and exact target under each other, and what was
asked for."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from sama_model.evaluation.evaluate import Edited

Picture = npt.NDArray[np.uint8]

COLUMNS = 2
EACH = 2
"""Samples of each split and kind that are shown."""
SHOWN = (0.0, 0.5, 1.0)
"""Where in the clip its frames are taken."""
ZOOM = 2
LINE = 16
"""Pixels of a line of text."""
DONE, MISSED = (20, 120, 40), (180, 30, 30)
"""Colours of the verdict."""


class Shown:
    """Keeps the first samples of each split and kind, and nothing of the others."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], list[Picture]] = {}

    def add(self, edited: Edited) -> None:
        cells = self._cells.setdefault((edited.measured.split, edited.measured.kind), [])
        if len(cells) < EACH:
            cells.append(cell(edited))

    def png(self) -> bytes:
        """The sheet of what was added, which is at least one sample."""
        picture = sheet([cell for cells in self._cells.values() for cell in cells])
        return bytes(cv2.imencode(".png", picture[..., ::-1])[1])


def sheet(cells: Sequence[Picture]) -> Picture:
    """Cells of one size, in rows of `COLUMNS`."""
    blank = np.full_like(cells[0], 255)
    filled = [*cells, *[blank] * (-len(cells) % COLUMNS)]
    rows = [np.concatenate(filled[i : i + COLUMNS], axis=1) for i in range(0, len(filled), COLUMNS)]
    return np.concatenate(rows)


def cell(edited: Edited) -> Picture:
    """Two lines of text over three rows of frames."""
    sample, line = edited.truth.sample, edited.measured
    at = [round(share * (len(sample.source) - 1)) for share in SHOWN]
    rows = [np.concatenate(clip[at], axis=1) for clip in (sample.source, edited.frames, sample.target)]
    picture = np.concatenate(rows).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    strip = np.full((2 * LINE + 4, picture.shape[1], 3), 255, dtype=np.uint8)
    verdict, colour = ("done", DONE) if line.result.success else ("missed", MISSED)
    written(strip, 0, line.instruction, (0, 0, 0))
    written(strip, 1, f"{line.split} {line.kind} {line.index}: {verdict}  (source, result, target)", colour)
    return np.pad(np.concatenate([strip, picture]), ((0, 6), (0, 6), (0, 0)), constant_values=255)


def written(strip: Picture, line: int, text: str, colour: tuple[int, int, int]) -> None:
    """Draws a line of text, as much of it as fits; letters that the font lacks show as question marks."""
    fits = strip.shape[1] // 7
    place = (4, 13 + LINE * line)
    cv2.putText(strip, text[:fits], place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
