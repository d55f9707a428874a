"""Detail by difference: nothing changed means nothing computed, and what changed lands in the source's own codes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from edits.media.detail import Edit, Enlarger, Layers, Restorer, difference, edit_of, mixed, mixed_pictures
from edits.media.formats import planes
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
