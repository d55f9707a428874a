"""Weights: they sum to one, heads have none, cuts are never crossed, gaps are never stitched over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edits.errors import VerificationError
from edits.media.blend import shares, takeovers
from edits.media.records import StitchChunk


def chunk(start: int, end: int, lead: int = 0, shot: int = 0) -> StitchChunk:
    return StitchChunk(start, end, 0, lead, shot, "in", "out")


def sama_chunks(length: int, first: int = 0, shot: int = 0) -> list[StitchChunk]:
    """81 frames, stride 64, the last one full: as plans for SAMA-14B are."""
    last = max(0, 4 * -(-(length - 81) // 4))
    starts = sorted({*range(0, last, 64), last})
    return [chunk(first + s, first + min(length, s + 81), 4 if s else 0, shot) for s in starts]


@given(lengths=st.lists(st.integers(1, 400), min_size=1, max_size=4), blend=st.integers(0, 40))
def test_weights_of_every_frame_sum_to_one_and_come_from_its_own_shot(lengths, blend) -> None:
    chunks, first = [], 0
    for shot, length in enumerate(lengths):
        chunks += sama_chunks(length, first, shot)
        first += length
    plan = takeovers(chunks, 0, first, blend)
    for frame in range(first):
        parts = shares(plan, frame)
        assert sum(weight for _, weight in parts) == pytest.approx(1.0, abs=1e-12)
        assert all(chunks[place].start <= frame < chunks[place].end and weight > 0 for place, weight in parts)
        assert len({chunks[place].shot for place, _ in parts}) == 1


def test_the_overlap_of_seventeen_is_four_of_nothing_eight_of_ramp_and_the_rest_dropped() -> None:
    plan = takeovers([chunk(0, 81), chunk(64, 145, lead=4)], 0, 145, 8)
    later = [dict(shares(plan, frame)).get(1, 0.0) for frame in range(64, 82)]
    assert later == pytest.approx([0] * 4 + [number / 9 for number in range(1, 9)] + [1] * 6)


def test_a_blend_of_nothing_is_a_hard_change_after_the_lead() -> None:
    plan = takeovers([chunk(0, 81), chunk(64, 145, lead=4)], 0, 145, 0)
    assert [shares(plan, frame) for frame in (67, 68)] == [((0, 1.0),), ((1, 1.0),)]


def test_a_blend_longer_than_the_overlap_uses_what_there_is() -> None:
    plan = takeovers([chunk(0, 81), chunk(64, 145, lead=4)], 0, 145, 99)
    assert dict(shares(plan, 80)) == pytest.approx({0: 1 / 14, 1: 13 / 14})


def test_a_lead_longer_than_the_overlap_leaves_no_frame_without_weight() -> None:
    plan = takeovers([chunk(0, 10), chunk(8, 20, lead=4)], 0, 20, 8)
    assert [shares(plan, frame) for frame in (9, 10)] == [((0, 1.0),), ((1, 1.0),)]


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([chunk(0, 10), chunk(12, 20)], "frames 10 to 11"),
        ([chunk(2, 20)], "frames 0 to 1"),
        ([chunk(0, 18)], "end at frame 18"),
        ([chunk(0, 12), chunk(10, 20, shot=1)], "overlaps the shot before"),
    ],
)
def test_gaps_and_overlaps_across_cuts_are_refused_by_frame(chunks, message) -> None:
    with pytest.raises(VerificationError, match=message):
        takeovers(chunks, 0, 20, 8)
