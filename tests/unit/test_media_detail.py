"""Detail by difference: nothing changed means nothing computed, and what changed lands in the source's own codes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest

from edits.media.box import MARGIN, box_of
from edits.media.detail import Edit, Enlarger, Layers, Restorer, difference, edit_of, mixed, mixed_pictures, settled
from edits.media.formats import planes
from edits.media.levels import Levels, levelled
from edits.media.records import Colour, FrameIndex
from tests.fakes.footage import drawn

BT709 = Colour("bt709", "bt709", "bt709", "tv")


def index(pixel_format: str = "yuv420p", size: tuple[int, int] = (64, 48)) -> FrameIndex:
    depth = 10 if "10" in pixel_format else 8
    return FrameIndex(
        sha256="", size=0, container="mov", stream=0, codec="h264", width=size[0], height=size[1],
        sample_aspect_ratio=Fraction(1), pixel_format=pixel_format, bit_depth=depth, colour=BT709,
        time_base=Fraction(1, 25), pts=(0, 1), last_duration=1, rate=Fraction(25), cuts=(), audio=(), timecode=None,
        reel=None,
    )  # fmt: skip


def grey(level: int, dtype: type = np.uint8) -> np.ndarray:
    return np.full((24, 32, 3), level, dtype)


def test_equal_pictures_have_no_difference_at_either_depth() -> None:
    assert difference(grey(90), grey(90)) is None
    assert difference(grey(90 * 257, np.uint16), grey(90)) is None


def test_levels_of_eight_bits_are_what_arithmetic_makes_of_them() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (24, 32, 3), np.uint8)
    levels = Levels((1.04, 0.97, 1.0), (-2.5, 0.3, 5.9))
    assert np.array_equal(settled(picture, levels), levelled(picture.astype(np.float32), levels))


def test_a_mixture_of_unchanged_parts_is_unchanged() -> None:
    assert mixed([(None, 0.25), (None, 0.75)]) is None


def test_a_mixture_weighs_its_parts() -> None:
    edit = mixed([(edit_of(grey(110), grey(90), None), 0.25), (None, 0.75)])
    assert edit is not None
    assert np.all(edit.change == 5.0)


def test_without_a_change_the_sources_own_frame_passes() -> None:
    frame = drawn(0, (64, 48), "yuv420p")
    assert Restorer(index()).apply(frame, Layers(None)) is frame


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"])
@pytest.mark.parametrize("size", [(64, 48), (65, 47)])
def test_a_grey_lift_of_twenty_levels_moves_luma_alone_by_its_share_of_the_swing(pixel_format, size) -> None:
    frame, restorer = drawn(3, size, pixel_format), Restorer(index(pixel_format, size))
    result = restorer.apply(frame, Layers(restorer.added(edit_of(grey(110), grey(90), None))))
    luma, *chroma = [after.astype(int) - before for before, after in zip(planes(frame), planes(result), strict=True)]
    step = 4 if "10" in pixel_format else 1
    assert np.all(luma == round(20 * 219 / 255 * step))
    assert all(np.all(plane == 0) for plane in chroma)


@pytest.mark.parametrize(("pixel_format", "peak"), [("yuv420p", 255), ("yuv420p10le", 1023)])
def test_sums_are_clipped_to_the_depth(pixel_format, peak) -> None:
    frame, restorer = drawn(0, (64, 48), pixel_format), Restorer(index(pixel_format))
    brighter = restorer.apply(frame, Layers(restorer.added(edit_of(grey(255), grey(0), None))))
    assert planes(brighter)[0].max() == peak


def test_sixteen_bit_output_keeps_fractions_of_a_level_for_ten_bit_sources() -> None:
    restorer = Restorer(index("yuv420p10le"))
    frame = drawn(0, (64, 48), "yuv420p10le")
    change = difference(grey(90 * 257 + 128, np.uint16), grey(90))
    result = restorer.apply(frame, Layers(restorer.added(Edit(grey(90), change))))
    moved = planes(result)[0].astype(int) - planes(frame)[0]
    assert np.all(moved == 2)  # half an 8-bit level is 1.7 of 10 bits


def test_upscale_writes_the_edited_colour_with_the_sources_matrix_and_range() -> None:
    red = np.zeros((24, 32, 3), np.float32)
    red[..., 0] = 255
    frame = Enlarger(index()).frame(red)
    assert [int(plane[20, 20]) for plane in planes(frame)] == [63, 102, 240]
    full = Enlarger(replace(index(), colour=replace(BT709, range="pc"))).frame(red)
    assert [int(plane[20, 20]) for plane in planes(full)] == [54, 99, 255]


def test_pictures_that_agree_are_mixed_to_exactly_themselves() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.float32)
    assert np.array_equal(mixed_pictures([(picture, 1 / 3), (picture, 2 / 3)]), picture)


def local_mask(size: tuple[int, int], at: tuple[int, int]) -> np.ndarray:
    """(h, w): a soft spot."""
    mask = np.zeros(size[::-1], np.float32)
    mask[at[1], at[0]] = 20
    return np.minimum(cv2.GaussianBlur(mask, (5, 5), 1.0), 1)


@pytest.mark.parametrize("at", [(40, 20), (2, 2), (61, 45)])
def test_a_box_holds_what_the_mask_touches_and_a_margin_and_cuts_every_size_between_pixels(at: tuple[int, int]) -> None:
    mask = local_mask((64, 48), at)
    box = box_of(mask, [(96, 128), (216, 384), (108, 192)])
    inside = np.zeros_like(mask, bool)
    box.of(inside)[...] = True
    touched = cv2.dilate((mask > 0).astype(np.uint8), np.ones((2 * MARGIN + 1, 2 * MARGIN + 1))) > 0
    assert np.all(inside[touched])
    assert inside.mean() < 0.5
    for height, width in ((96, 128), (216, 384), (108, 192)):
        for span, side in ((box.rows, height), (box.columns, width)):
            assert all((place * side).denominator == 1 for place in span)


def test_sizes_without_a_common_line_are_taken_whole() -> None:
    box = box_of(local_mask((53, 47), (20, 20)), [(95, 107)])
    assert (box.rows, box.columns) == ((0, 1), (0, 1))


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le"])
@pytest.mark.parametrize("toned", [False, True])
def test_an_edit_laid_in_a_box_is_the_whole_picture_laid_by_the_mask(pixel_format: str, toned: bool) -> None:
    size, working = (384, 216), (128, 72)
    frame, restorer = drawn(3, size, pixel_format), Restorer(index(pixel_format, size))
    drawing = np.random.default_rng(1).integers(0, 256, (72, 128, 3), np.uint8)
    edit, mask = Edit(grey(90).repeat(3, 0).repeat(4, 1), drawing.astype(np.int16) - 90), local_mask((64, 36), (20, 12))
    inside = restorer.picture(edit)
    added = [np.full(working[::-1], 8, np.float32)] * 3 if toned else None
    result = restorer.apply(frame, Layers(added, inside, mask))
    for source, part, found in zip(planes(frame), inside, planes(result), strict=True):
        sides = source.shape[::-1]
        under = source.astype(np.float32) + (8 if toned else 0)
        over = cv2.resize(part, sides, interpolation=cv2.INTER_LANCZOS4)
        weight = cv2.resize(mask, sides, interpolation=cv2.INTER_LINEAR)
        peak = 1023 if found.dtype == np.uint16 else 255
        wanted = np.clip(under + weight * (over - under), 0, peak)
        assert np.abs(found - wanted).max() < 0.51
        assert np.array_equal(found[weight == 0], under[weight == 0])
