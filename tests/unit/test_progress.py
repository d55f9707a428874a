"""The board that a running flow reports to."""

from __future__ import annotations

import pytest

from tasks.progress import STAGES, Board


def test_the_stages_shares_make_a_whole() -> None:
    assert sum(STAGES.values()) == pytest.approx(1.0)


def test_a_job_moves_from_nothing_to_all() -> None:
    board = Board()
    board.add(2, "clip.mp4")
    fractions = [board.snapshot().fraction]
    for stage in STAGES:
        report = board.reporter(2, stage)
        for done in (0, 5, 10):
            report(done, 10)
            fractions.append(board.snapshot().fraction)
    board.end(2, "delivered", "published")
    fractions.append(board.snapshot().fraction)
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)


def test_time_goes_to_the_stage_that_is_left() -> None:
    board = Board()
    board.add(2, "clip.mp4")
    board.stage(2, "index")
    board.stage(2, "split")
    board.end(2, "failed", "broken")
    assert list(board.snapshot().jobs[0].seconds_by_stage()) == ["index", "split"]


def test_no_time_left_is_claimed_before_anything_is_known() -> None:
    board = Board()
    board.add(2, "clip.mp4")
    assert board.snapshot().seconds_left is None
