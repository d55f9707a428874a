"""Pictures of every shape in a working size: all of them is edited, and comes back where it was."""

from __future__ import annotations

import numpy as np
import pytest

from sama_model.cards import RELEASED
from sama_model.config import SQUEEZE
from sama_model.framing import cropped, framed

SOURCES = {"16:9": (1920, 1080), "2.39:1": (1912, 800), "4:3": (1440, 1080), "9:16": (1080, 1920), "1:1": (1080, 1080)}


def ramp(width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Two frames whose first two channels say where a pixel lies."""
    across = np.linspace(0, 255, width).astype(np.uint8)[None, :].repeat(height, axis=0)
    down = np.linspace(0, 255, height).astype(np.uint8)[:, None].repeat(width, axis=1)
    return np.stack([np.stack([across, down, across], axis=-1)] * 2)


@pytest.mark.parametrize("size", SOURCES.values(), ids=SOURCES)
def test_no_pixel_of_a_source_lies_outside_the_edited_area(size: tuple[int, int]) -> None:
    """Corner to corner: what goes in at the source's edges comes out at the edges of what is edited."""
    picture = RELEASED.working_size(*size)
    bucket = RELEASED.bucket(*size)
    assert picture[0] <= bucket[0]
    assert picture[1] <= bucket[1]
    assert abs(picture[0] / picture[1] / (size[0] / size[1]) - 1) <= SQUEEZE
    frames, framing = framed(ramp(*picture), bucket, "pad")
    assert frames.shape == (2, bucket[1], bucket[0], 3)
    assert np.array_equal(framing.trimmed(frames), ramp(*picture))


@pytest.mark.parametrize("size", SOURCES.values(), ids=SOURCES)
def test_the_default_fit_of_the_pipeline_shows_all_of_the_picture_too(size: tuple[int, int]) -> None:
    small = (size[0] // 8, size[1] // 8)
    frames, framing = framed(ramp(*small), tuple(side // 8 for side in RELEASED.bucket(*size)), "whole")  # type: ignore[arg-type]
    trimmed = framing.trimmed(frames)
    corners = trimmed[0, [0, 0, -1, -1], [0, -1, 0, -1], :2].astype(int)
    np.testing.assert_allclose(corners, [[0, 0], [255, 0], [0, 255], [255, 255]], atol=6)


def test_a_wide_picture_is_padded_by_reflection_above_and_below() -> None:
    assert RELEASED.working_size(1912, 800) == (896, 374)
    frames, framing = framed(ramp(896, 374), (896, 448), "pad")
    assert (framing.left, framing.top, framing.width, framing.height) == (0, 37, 896, 374)
    assert np.array_equal(frames[:, 36], frames[:, 38])


def test_a_nearly_fitting_picture_is_squeezed() -> None:
    assert RELEASED.working_size(1920, 1080) == (832, 480)
    assert framed(ramp(178, 100), (83, 48), "whole")[1].height == 48


def test_crop_is_the_official_recipe() -> None:
    """1920x1080 to 832x480: int(1080 / 480 * 832) = 1872 columns from the middle."""
    assert cropped(ramp(1920, 1080), (832, 480)).shape == (2, 1080, 1872, 3)
    assert cropped(ramp(640, 480), (832, 480)).shape == (2, 369, 640, 3)
    frames, framing = framed(ramp(192, 108), (80, 48), "crop")
    assert framing.trimmed(frames).shape == (2, 48, 80, 3)


@pytest.mark.parametrize(
    ("size", "bucket"),
    [((1920, 1080), (832, 480)), ((1080, 1920), (480, 832)), ((640, 480), (736, 544)), ((3840, 1600), (896, 448))],
)
def test_buckets_are_chosen_as_the_official_code_does(size: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert RELEASED.bucket(*size) == bucket


def test_an_unknown_fit_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="no fit 'letterbox'; there are whole, squeeze, pad, crop"):
        framed(ramp(16, 16), (16, 16), "letterbox")
