"""Which frames a seam is measured by: its own steps, and as many of the same shot away from any seam."""

from __future__ import annotations

from edits.media.blend import takeovers
from edits.media.records import StitchChunk
from edits.media.samples import APART, MOST, seams_of


def chunks(*ranges: tuple[int, int, int]) -> tuple[list[StitchChunk], list[int]]:
    made = [StitchChunk(start, end, 0, 4 if n else 0, shot, "", "") for n, (start, end, shot) in enumerate(ranges)]
    return made, [chunk.shot for chunk in made]


def test_a_seam_is_its_ramp_and_the_steps_into_and_out_of_it() -> None:
    made, shots = chunks((0, 81, 0), (64, 145, 0))
    (seam,) = seams_of(takeovers(made, 0, 145, 6), shots)
    assert seam.steps == tuple(range(68, 75))
    assert seam.controls == (*range(60, 64), *range(74 + 1 + APART, 74 + 1 + APART + 4))


def test_a_hard_change_is_one_step() -> None:
    made, shots = chunks((0, 81, 0), (64, 145, 0))
    (seam,) = seams_of(takeovers(made, 0, 145, 0), shots)
    assert seam.steps == (68,)


def test_a_cut_is_no_seam_and_controls_stay_in_their_shot() -> None:
    made, shots = chunks((0, 81, 0), (81, 162, 1), (145, 180, 1))
    (seam,) = seams_of(takeovers(made, 0, 180, 6), shots)
    assert seam.first == 149
    assert all(81 < number < 180 for number in seam.controls)


def test_controls_lie_in_no_other_seam() -> None:
    made, shots = chunks((0, 17, 0), (12, 29, 0), (24, 41, 0), (28, 45, 0))
    found = seams_of(takeovers(made, 0, 45, 6), shots)
    taken = {number for seam in found for number in seam.steps}
    assert not any(taken & set(seam.controls) for seam in found)


def test_of_very_many_seams_some_are_looked_at_evenly() -> None:
    made, shots = chunks(*((64 * n, 64 * n + 81, 0) for n in range(200)))
    found = seams_of(takeovers(made, 0, 64 * 199 + 81, 6), shots)
    assert len(found) == MOST
    assert found[-1].first > 64 * 190
