"""How often the statuses of a wave are read: by what its chunks take, not by the clock."""

from __future__ import annotations

import pytest

from tasks.wave import Pace


class Moved:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def test_before_the_first_chunk_is_done_it_is_the_time_that_has_passed() -> None:
    clock = Moved()
    pace = Pace(clock)
    clock.sleep(30)
    assert pace.seconds_a_chunk(64, 0) == 30


@pytest.mark.parametrize("workers", [1, 8, 64])
def test_in_the_long_run_it_is_what_a_chunk_takes_on_one_worker_however_many_there_are(workers: int) -> None:
    clock = Moved()
    pace = Pace(clock)
    for _ in range(50):
        clock.sleep(120)
        told = pace.seconds_a_chunk(workers, workers)
    assert told == pytest.approx(120, rel=0.05)


def test_a_wave_without_workers_has_no_pace() -> None:
    assert Pace(Moved()).seconds_a_chunk(0, 0) == 0
