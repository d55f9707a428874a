"""LUTs: what the file says is what is looked up, there and back, and what has no way back is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edits.errors import SourceError
from edits.media.lut import Lut, read_cube, require_lut
from tests.fakes.luts import CAMERAS, MATRIX, shown, write_1d, write_3d, write_of_camera


def ramp() -> np.ndarray:
    """(1, 1024, 3) grey log in levels, from the darkest light to far above white."""
    return np.repeat(np.linspace(30, 235, 1024, dtype=np.float32)[None, :, None], 3, axis=2)


def colours() -> np.ndarray:
    """(1, 4000, 3) log in levels: greys with some colour."""
    noise = np.random.default_rng(0)
    return (noise.uniform(60, 180, (1, 4000, 1)) + noise.uniform(-12, 12, (1, 4000, 3))).astype(np.float32)


def test_a_curve_is_looked_up_and_undone(tmp_path: Path) -> None:
    lut = Lut(read_cube(write_1d(tmp_path / "a.cube")))
    seen = lut.to_sdr(ramp())
    assert np.abs(seen / 255 - shown(ramp()[0] / 255)).max() < 1e-3
    assert np.abs(lut.to_hdr(seen) - ramp()).max() < 0.1


def test_a_grid_is_looked_up_and_undone(tmp_path: Path) -> None:
    """Ordinary colours: within three levels of 8 bits of the formula, and back within one in log."""
    lut = Lut(read_cube(write_3d(tmp_path / "a.cube")))
    log = colours()
    seen = lut.to_sdr(log)
    assert np.abs(seen[0] - 255 * shown(log[0] / 255, MATRIX)).max() < 3.0
    assert np.percentile(np.abs(lut.to_hdr(seen) - log), 99) < 1.0


@pytest.mark.parametrize("write", [write_1d, write_3d])
def test_a_lut_with_a_way_back_is_taken(tmp_path: Path, write) -> None:
    require_lut(write(tmp_path / "a.cube"))


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_cameras_own_formulas_make_a_lut_that_is_taken_and_undone(tmp_path: Path, camera: str) -> None:
    """Greys and soft colours around middle grey within a level of 10 bits; nine in ten of all colours that are seen
    unclipped within three levels of 8 bits."""
    path = write_of_camera(tmp_path / "a.cube", camera)
    require_lut(path)
    lut, noise = Lut(read_cube(path)), np.random.default_rng(0)
    soft = (noise.uniform(0.27, 0.48, (1, 4000, 1)) + noise.uniform(-0.01, 0.01, (1, 4000, 3))) * 255
    off = np.abs(lut.to_hdr(lut.to_sdr(soft.astype(np.float32))) - soft)
    assert np.percentile(off, 99) < 0.25
    strong = (noise.uniform(0.2, 0.6, (1, 4000, 1)) + noise.uniform(-0.06, 0.06, (1, 4000, 3))) * 255
    seen = lut.to_sdr(strong.astype(np.float32))
    inside = ((seen > 2.55) & (seen < 252.45)).all(axis=2)
    off = np.abs(lut.to_hdr(seen) - strong).max(axis=2)[inside]
    assert inside.mean() > 0.4
    assert np.percentile(off, 90) < 3


def test_the_domain_says_where_the_table_begins_and_ends(tmp_path: Path) -> None:
    (tmp_path / "a.cube").write_text("DOMAIN_MIN 0.2 0.2 0.2\nDOMAIN_MAX 0.7 0.7 0.7\nLUT_1D_SIZE 2\n0 0 0\n1 1 1\n")
    cube = read_cube(tmp_path / "a.cube")
    assert cube(np.array([[0.2, 0.45, 0.7]], np.float32)) == pytest.approx(np.array([[0, 0.5, 1]]))
    assert Lut(cube).to_hdr(np.array([[[0, 127.5, 255]]])) == pytest.approx(255 * np.array([[[0.2, 0.45, 0.7]]]))


LUMA = np.tile([0.2126, 0.7152, 0.0722], (3, 1))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("LUT_1D_SIZE 3\n0 0 0\n1 1 1\n0.5 0.5 0.5\n", "cannot be undone"),
        ("LUT_1D_SIZE 2\n0.5 0.5 0.5\n0.5 0.5 0.5\n", "cannot be undone"),
        ("LUT_1D_SIZE 3\n0 0 0\n1 1 1\n", "2 lines of numbers, 3 of three numbers each"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 nan 1\n", "2 lines of numbers"),
        ("LUT_3D_SIZE 4000\n0 0 0\n", "LUT_3D_SIZE (2 to 129)"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 one\n", "line 3: '1 1 one'"),
        ("", "no .cube file"),
    ],
)
def test_what_is_no_lut_or_has_no_way_back_is_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.cube").write_text(content)
    with pytest.raises(SourceError) as caught:
        require_lut(tmp_path / "a.cube")
    assert said in str(caught.value)


def test_a_grid_that_drops_colour_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be undone"):
        require_lut(write_3d(tmp_path / "a.cube", 17, LUMA))
