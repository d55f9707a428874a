"""Colour: the matrices are the standard's, and what is assumed is said."""

from __future__ import annotations

import numpy as np
import pytest

from edits.errors import SourceError
from edits.media.colour import MATRICES, Tags, interpretation, rgb_to_yuv, tags_of, yuv_to_rgb
from edits.media.records import Colour

UNTAGGED = Tags(2, 2, 2, 0)


def colour(matrix: str, written: str = "tv") -> Colour:
    return Colour(matrix, "bt709", "bt709", written)


def applied(affine: np.ndarray, values: tuple[float, ...]) -> np.ndarray:
    return affine[:, :3] @ np.array(values) + affine[:, 3]


@pytest.mark.parametrize(
    ("matrix", "rgb", "code"),
    [
        ("bt709", (255, 0, 0), (63, 102, 240)),
        ("bt709", (0, 255, 0), (173, 42, 26)),
        ("smpte170m", (255, 0, 0), (81, 90, 240)),
        ("smpte170m", (0, 0, 255), (41, 240, 110)),
        ("bt2020nc", (255, 255, 255), (235, 128, 128)),
    ],
)
def test_primary_colours_have_the_code_values_of_the_published_tables(matrix, rgb, code) -> None:
    assert applied(rgb_to_yuv(colour(matrix), 8), rgb) == pytest.approx(code, abs=0.6)


@pytest.mark.parametrize("depth", [8, 10])
@pytest.mark.parametrize("written", ["tv", "pc"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_there_and_back_is_where_it_began(matrix, written, depth) -> None:
    rgb = (12.0, 200.0, 91.0)
    there = applied(rgb_to_yuv(colour(matrix, written), depth), rgb)
    assert applied(yuv_to_rgb(colour(matrix, written), depth), tuple(there)) == pytest.approx(rgb, abs=0.01)


def test_full_range_white_is_the_largest_code() -> None:
    assert applied(rgb_to_yuv(colour("bt709", "pc"), 10), (255, 255, 255)) == pytest.approx((1023, 512, 512), abs=0.01)


@pytest.mark.parametrize(("height", "expected"), [(719, "smpte170m"), (720, "bt709")])
def test_untagged_pictures_are_read_by_their_height_and_say_so(height, expected) -> None:
    found = interpretation(UNTAGGED, height, "clip")
    assert (found.matrix, found.primaries, found.transfer, found.range) == (expected, expected, expected, "tv")
    assert found.assumed == ("matrix", "primaries", "transfer", "range")


def test_a_stated_matrix_brings_its_own_primaries() -> None:
    found = interpretation(Tags(5, 2, 2, 1), 720, "clip")
    assert (found.matrix, found.primaries, found.assumed) == ("bt470bg", "bt470bg", ("primaries", "transfer"))


def test_tags_come_back_as_the_numbers_they_were() -> None:
    assert tags_of(interpretation(Tags(9, 9, 14, 2), 1080, "clip")) == Tags(9, 9, 14, 2)


@pytest.mark.parametrize("matrix", [8, 10, 14], ids=["YCgCo", "BT.2020 constant luminance", "ICtCp"])
def test_a_matrix_that_is_not_known_is_refused(matrix: int) -> None:
    with pytest.raises(SourceError, match=f"number {matrix} "):
        interpretation(Tags(matrix, 9, 14, 1), 1080, "clip")
