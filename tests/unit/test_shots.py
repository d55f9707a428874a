"""Shots edited otherwise than their row: read, written, planned; every other chunk keeps its key."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edits.errors import CellError
from edits.job import ShotEdit
from edits.output import next_version
from edits.plan import plan_video
from edits.shots import asked_of, instructions_of, parse_shots, with_shot, written_shots
from tests.fakes.intake import SAMPLED, make_index
from tests.unit.test_plan import make_job

INSTRUCTIONS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=12)


def test_a_cell_names_shots_as_people_count_them() -> None:
    assert parse_shots("3 seed=7; 5 instruction=make it snow") == (ShotEdit(2, 7), ShotEdit(4, None, "make it snow"))
    assert parse_shots("1 seed=0 instruction=a = b") == (ShotEdit(0, 0, "a = b"),)


@given(st.lists(st.tuples(st.none() | st.integers(0, 99), INSTRUCTIONS), min_size=1, max_size=5))
def test_what_is_written_is_read_again(parts) -> None:
    shots = tuple(ShotEdit(number, *part) for number, part in enumerate(parts))
    assert parse_shots(written_shots(shots)) == shots


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("3", "does not say what is other"),
        ("seed=7", "does not say"),
        ("0 seed=7", "counted from 1"),
        ("3 seed=7;", "does not say"),
        ("3 seed=7; 3 seed=8", "shot 3 is named twice"),
        ("3 seed=99999999999999999999", "out of range"),
        ("3 instruction= ", "does not say|empty"),
    ],
)
def test_a_wrong_cell_says_what_is_wrong(text: str, says: str) -> None:
    with pytest.raises(CellError, match=says):
        parse_shots(text)


def test_an_instruction_with_a_semicolon_cannot_be_written() -> None:
    with pytest.raises(CellError, match="semicolon"):
        written_shots([ShotEdit(0, None, "a; b")])


def test_a_second_change_of_a_shot_keeps_what_it_does_not_speak_of() -> None:
    first = with_shot((), ShotEdit(2, 7))
    assert with_shot(first, ShotEdit(2, None, "snow")) == (ShotEdit(2, 7, "snow"),)
    assert with_shot(first, ShotEdit(0, 1)) == (ShotEdit(0, 1), ShotEdit(2, 7))


def test_another_seed_for_one_shot_changes_its_chunks_keys_alone() -> None:
    index = make_index(300, cuts=(100, 200))
    job = make_job()
    other = replace(job, shots=(ShotEdit(1, 7),))
    before, after = (plan_video(asked, index, SAMPLED).chunks for asked in (job, other))
    changed = {old.shot for old, new in zip(before, after, strict=True) if old.chunk_key != new.chunk_key}
    assert changed == {1}
    assert [asked_of(other, shot)[1] for shot in range(3)] == [job.seed, 7, job.seed]


def test_all_that_a_job_was_told_is_one_text() -> None:
    job = replace(make_job(), instruction="make it snow")
    assert instructions_of(job) == "make it snow"
    told = replace(job, shots=(ShotEdit(0, 7), ShotEdit(2, None, "make it rain")))
    assert instructions_of(told) == "make it snow; shot 3: make it rain"


def test_the_next_version_is_the_first_that_is_free() -> None:
    taken = {"file:///a/x.mov", "file:///a/x_v002.mov"}
    assert next_version("file:///a/x.mov", taken.__contains__) == "file:///a/x_v003.mov"
    assert next_version("file:///a/x_v009.mov", taken.__contains__) == "file:///a/x_v010.mov"
    assert next_version("file:///a/x.v0009.mov", taken.__contains__) == "file:///a/x.v0010.mov"
