"""What two real edits of one shot become: the seams that `benchmarks/seams.py` measures, at the usual blend."""

from __future__ import annotations

from pathlib import Path

import pytest

from edits.media.records import StitchRequest
from edits.stitch import stitch
from metrics.seams import AT_LEAST, AT_MOST
from tasks.seams import measured

pytestmark = pytest.mark.shared


@pytest.fixture
def cut_together(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StitchRequest:
    """SAMA-14B's run of 49 frames up to frame 33, and that of 81 from frame 16 on."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    from pairs import Piece, request_of

    pairs = shared / "clips" / "sama_pairs"
    pieces = (Piece(pairs / "two_runs_sama.mp4", 0, 33), Piece(pairs / "two_runs_sama_v2.mp4", 16, 81, lead=4))
    made: StitchRequest = request_of(
        pairs / "two_runs_source_v2.mp4", pieces, (832, 480), tmp_path / "made", detail="upscale"
    )
    return made


def test_two_real_edits_of_a_shot_are_joined_unseen(cut_together: StitchRequest) -> None:
    stitch(cut_together, lambda done, total: None)
    (seam,) = measured(cut_together).seams
    assert (AT_MOST["difference"], AT_MOST["warp"], AT_MOST["luma"], AT_LEAST["sharpness"]) == (1.15, 1.3, 2.5, 0.85)
    assert seam.difference <= 1.15
    assert seam.warp <= 1.3
    assert seam.luma <= 2.5
    assert seam.sharpness >= 0.85
    assert seam.shows == ()
