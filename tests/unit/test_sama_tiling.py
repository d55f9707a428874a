"""The official tile scheme: which tiles there are, and that blending them loses nothing where they agree."""

from __future__ import annotations

import pytest
import torch

from sama_model.tiling import Tile, blend_mask, ramp, starts, tiled, tiles


def test_a_480p_picture_has_the_nine_official_tiles() -> None:
    assert starts(60, 30, 15) == [0, 15, 30]
    assert starts(104, 52, 26) == [0, 26, 52]
    assert len(list(tiles(60, 104))) == 9


def test_a_picture_smaller_than_a_tile_is_one() -> None:
    assert list(tiles(20, 40)) == [Tile(0, 0)]


def test_ramps_rise_towards_a_tiles_own_middle() -> None:
    assert ramp(6, 2, first=False, last=False).tolist() == [0.5, 1.0, 1.0, 1.0, 1.0, 0.5]
    assert ramp(6, 2, first=True, last=True).tolist() == [1.0] * 6
    assert blend_mask(Tile(0, 0), 30, 52, (60, 104), 1)[0, 0] == 1
    assert blend_mask(Tile(0, 0), 30, 52, (60, 104), 1)[-1, -1] == pytest.approx(1 / 26)


@pytest.mark.parametrize(("read", "written"), [(1, 1), (1, 4), (4, 1)])
def test_where_tiles_agree_the_blend_is_what_they_say(read: int, written: int) -> None:
    x = torch.rand(1, 2, 3, 40 * read, 60 * read, generator=torch.Generator().manual_seed(0))

    def work(part: torch.Tensor) -> torch.Tensor:
        return part[..., ::read, ::read].repeat_interleave(written, -1).repeat_interleave(written, -2)

    torch.testing.assert_close(tiled(work, x, read, written), work(x), rtol=0, atol=1e-6)
