"""Masks that a user gives: one picture, or a video with one a frame. White is the edit's, black the source's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edits.errors import SourceError
from edits.media.detail import Map
from edits.media.reader import Source, indexed_frames
from edits.media.records import GivenMask, Limits
from edits.media.split import Squeezer

STILLS = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})
"""Suffixes of pictures; anything else is a video."""


def given_masks(given: GivenMask, size: tuple[int, int]) -> Iterator[Map | None]:
    """The mask of each frame to be stitched, at `size` (width, height); None where it is black all over.

    Raises:
        SourceError: it cannot be read, or is not what was planned with.
    """
    if given.index is None:
        return itertools.repeat(_mask(_still(Path(given.path), size)))
    return _video(given, size)


def require_still(path: Path, limits: Limits) -> None:
    """Read a mask that is a picture, to see that it is one.

    Raises:
        SourceError: it is none, or larger than is allowed.
    """
    height, width = _picture(path).shape
    if width * height > limits.max_pixels:
        raise SourceError(f"{path}: {width} x {height} pixels are more than the {limits.max_pixels:,} that are allowed")


def _still(path: Path, size: tuple[int, int]) -> Map:
    return np.asarray(cv2.resize(_picture(path), size, interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)


def _picture(path: Path) -> npt.NDArray[np.uint8]:
    try:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    except cv2.error as error:
        raise SourceError(f"{path}: this picture cannot be read ({error.err})") from error
    if picture is None:
        raise SourceError(f"{path}: not a picture that can be read, whatever its name says")
    return np.asarray(picture, np.uint8)


def _video(given: GivenMask, size: tuple[int, int]) -> Iterator[Map | None]:
    assert given.index is not None
    squeezer = Squeezer(given.index, *size)
    with Source(Path(given.path)) as source:
        for frame in itertools.islice(indexed_frames(source, given.index), given.first, None):
            yield _mask(squeezer.rgb(frame)[..., 1].astype(np.float32) / np.float32(255))


def _mask(mask: Map) -> Map | None:
    return mask if mask.any() else None
