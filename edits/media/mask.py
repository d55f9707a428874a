"""Where a frame was edited: a soft mask, steady in time, found from what an edit changed. Arrays and numbers only.

A mask is (h, w) float32 from 0 (the source's) to 1 (the edit's), at half the working size. It is judged from evidence,
in levels of 8 bits, of which there are two kinds: how far colours moved (`full` keeps the source wherever they did
not), and how much was redrawn (`tone` keeps the source's detail wherever it still belongs).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import TypeVar

import cv2
import numpy as np

from edits.media.detail import Difference, Edit, Map

Item = TypeVar("Item")
Value = TypeVar("Value")

REACH = 2
"""Frames: evidence counts this long before and after (the largest), and then the mean of as many on either side."""
GROWN = 5
"""Pixels of the mask: side of the square over which evidence spreads before it is judged."""
FEATHER = 1.5
"""Standard deviation, in pixels of the mask, of its soft edge."""
COARSE = 48
"""Pixels at most of the longer side of a tone offset."""
LOW = 3.0
"""Standard deviation, in those, of what counts as low frequency: a sixteenth of the picture's longer side."""
AROUND = 1.0
"""Standard deviation, in those, of how far around an edit the tone is made to meet it."""
DRIFT = (4.0, 8.0)
"""Levels of tone away from an edit: up to the first a model's drift, not followed, from the second on meant."""


def mask_size(edit: Edit) -> tuple[int, int]:
    """(width, height) of the mask of an edit."""
    height, width = edit.source.shape[:2]
    return max(1, width // 2), max(1, height // 2)


def _halved(edit: Edit, levels: Difference) -> Difference:
    """The edit's change or source at the mask's size. OpenCV halves whole levels in a fifth of float32's time."""
    return cv2.resize(levels, mask_size(edit), interpolation=cv2.INTER_AREA).astype(np.float32)


# -- evidence ---------------------------------------------------------------------------------------------------------


def moved(edit: Edit) -> Map:
    """How far colours moved: the largest channel of the smoothed change, in which a model's own grain averages out."""
    smooth = cv2.GaussianBlur(_halved(edit, edit.change), (9, 9), 1.5)
    red, green, blue = cv2.split(np.abs(smooth, out=smooth))
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.float32)


_LUMA = np.array([[0.2126, 0.7152, 0.0722]], np.float32)
_LOCAL = np.full(7, 1 / 7, np.float32)
"""Pixels of the mask, each way, over which detail is compared."""
_KEPT = (0.75, 4 / 3)
"""Gains of detail that count as tone: the source's own detail still fits."""


def redrawn(edit: Edit) -> Map:
    """How much was redrawn: the standard deviation of what no gain near 1 makes of the source's detail, nearby.

    With s the source and c the change, that is the variance of c - (gain - 1) s.
    """
    source, change = _luma(edit, edit.source), _luma(edit, edit.change)
    mean_s, mean_c = _near(source), _near(change)
    variance = _near(source * source) - mean_s * mean_s
    together = _near(source * change) - mean_s * mean_c
    changed = _near(change * change) - mean_c * mean_c
    short = 1 - np.clip((variance + together) / np.maximum(variance, 1), *_KEPT)
    left = changed + short * (2 * together + short * variance)
    return np.asarray(np.sqrt(np.maximum(left, 0)), np.float32)


def _luma(edit: Edit, levels: Difference) -> Map:
    """At the mask's size. Of float32 luma is taken first: OpenCV is slow to halve three channels of it, not one."""
    if levels.dtype == np.float32:
        return np.asarray(cv2.resize(cv2.transform(levels, _LUMA), mask_size(edit), interpolation=cv2.INTER_AREA))
    return np.asarray(cv2.transform(_halved(edit, levels), _LUMA))


def _near(values: Map) -> Map:
    """The mean around each pixel; as two passes of a kernel it takes two thirds of a box filter's time."""
    return np.asarray(cv2.sepFilter2D(values, -1, _LOCAL, _LOCAL))


# -- what is added outside --------------------------------------------------------------------------------------------


def whole_change(edit: Edit, mask: Map | None, given: bool) -> Edit | None:
    """The difference itself: the deliverable follows the model's tone everywhere."""
    return edit


def tone_offset(edit: Edit, mask: Map | None, given: bool) -> Edit | None:
    """The difference outside the mask, low-pass filtered: around an edit all of it, elsewhere none of a model's drift.

    It keeps a step in tone from showing at the mask's edge, and follows what was lit or tinted as a whole. None where
    that is nothing: there the source stays, bit for bit. Where a mask was given, what is away from it was not meant.
    """
    whole = mask_size(edit)
    width, height = (max(1, round(side * min(1.0, COARSE / max(whole)))) for side in whole)
    inside = np.zeros((height, width), np.float32)
    if mask is not None:
        inside = np.asarray(cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA))
    outside = (1 - inside)[..., None]
    change = cv2.resize(_halved(edit, edit.change), (width, height), interpolation=cv2.INTER_AREA)
    tone = _low(change * outside, LOW) / (_low(outside, LOW) + np.float32(1e-3))
    near = np.clip((2 * _low(inside[..., None], AROUND) - 0.05) / 0.95, 0, 1)
    meant = np.float32(0) if given else _smooth_step(np.abs(tone).max(axis=-1, keepdims=True), *DRIFT)
    offset: Difference = tone * np.maximum(near, meant)
    if not np.any(offset):
        return None
    source = cv2.resize(_halved(edit, edit.source), (width, height), interpolation=cv2.INTER_AREA)
    return Edit(np.rint(source).astype(np.uint8), offset)


def _low(values: Difference, reach: float) -> Difference:
    low = np.asarray(cv2.GaussianBlur(values, (0, 0), reach))
    return low.reshape(values.shape)


# -- the mask ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """What a row's `detail` means for the source and the edit."""

    evidence: Callable[[Edit], Map]
    none: float
    """Levels of evidence up to which the mask is 0."""
    all: float
    """Levels from which it is 1."""
    outside: Callable[[Edit, Map | None, bool], Edit | None]
    """What is added to the source outside the mask, at any size; the last argument says whether the mask was given."""


METHODS = {
    "full": Method(moved, 10.0, 20.0, tone_offset),
    "tone": Method(redrawn, 2.5, 6.5, whole_change),
}
"""A row's `detail`, as far as there is a mask."""


def steady(items: Iterable[tuple[Item, Map | None]]) -> Iterator[tuple[Item, Map | None]]:
    """Each item of a shot with its evidence spread over time, so that a mask does not flicker; None is no evidence."""
    peaks = ((item, _largest(near)) for item, near in windowed(items, REACH))
    return ((item, _mean(near)) for item, near in windowed(peaks, REACH))


def _largest(near: tuple[Map | None, ...]) -> Map | None:
    found = [evidence for evidence in near if evidence is not None]
    return reduce(_larger, found) if found else None


def _mean(near: tuple[Map | None, ...]) -> Map | None:
    found = [evidence for evidence in near if evidence is not None]
    return np.asarray(reduce(np.add, found) / np.float32(len(near))) if found else None


def _larger(one: Map, other: Map) -> Map:
    """OpenCV's takes a third of numpy's time."""
    return np.asarray(cv2.max(one, other), np.float32)


def soft(evidence: Map | None, method: Method) -> Map | None:
    """The mask that the evidence makes: grown, judged by a smooth step, feathered. None where it would be empty."""
    if evidence is None or evidence.max() <= method.none:
        return None
    grown = cv2.dilate(evidence, np.ones((GROWN, GROWN), np.uint8))
    return np.asarray(cv2.GaussianBlur(_smooth_step(grown, method.none, method.all), (0, 0), FEATHER), np.float32)


def _smooth_step(values: Difference, low: float, high: float) -> Difference:
    """0 up to `low`, 1 from `high` on, without a corner."""
    share = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), np.float32)


def windowed(items: Iterable[tuple[Item, Value]], reach: int) -> Iterator[tuple[Item, tuple[Value, ...]]]:
    """Each item with the values of all that are at most `reach` places away from it, its own included, in order.

    What has been given is held no longer: items have pictures of megabytes in them.
    """
    near: deque[Value] = deque(maxlen=2 * reach + 1)
    waiting: deque[Item] = deque()
    for item, value in items:
        near.append(value)
        waiting.append(item)
        if len(waiting) > reach:
            yield waiting.popleft(), tuple(near)
    while waiting:
        if len(near) > reach + len(waiting):
            near.popleft()
        yield waiting.popleft(), tuple(near)
