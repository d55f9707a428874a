"""How chunks are joined: read, written, planned, and dispatched as one where a shot is edited as one."""

from __future__ import annotations

import pytest

from edits.errors import CellError, PermanentError
from edits.plan import JOINT_FRAMES, plan_video
from edits.seams import MAX_BLEND, USUAL, Seams, parse_seams, written_seams
from tasks.groups import windows_of
from tests.fakes.intake import SAMPLED, make_index
from tests.unit.test_plan import make_job

JOINT = Seams(joint=True)


@pytest.mark.parametrize("seams", [USUAL, JOINT, Seams(blend=0), Seams(blend=MAX_BLEND)])
def test_what_is_written_is_read_again(seams: Seams) -> None:
    assert parse_seams(written_seams(seams)) == seams


def test_blend_alone_is_the_usual() -> None:
    assert parse_seams("blend") == USUAL


@pytest.mark.parametrize("text", ["bend", "blend:", "blend:-1", "blend:65", "joint:8", "blend 8"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(CellError):
        parse_seams(text)


def test_the_windows_of_a_joint_shot_are_its_chunks_and_have_keys_of_their_own() -> None:
    index = make_index(300, cuts=(100,))
    blended, joint = (plan_video(make_job(seams=seams), index, SAMPLED) for seams in (USUAL, JOINT))
    assert [len(windows_of(blended, chunk)) for chunk in blended.chunks] == [1] * len(blended.chunks)
    shots = [[chunk for chunk in joint.chunks if chunk.shot == shot] for shot in range(2)]
    for shot in shots:
        assert all(windows_of(joint, chunk) == tuple(shot) for chunk in shot)
    pairs = zip(blended.chunks, joint.chunks, strict=True)
    assert all((a.chunk_key != b.chunk_key) == (len(shots[b.shot]) > 1) for a, b in pairs)


def test_a_shot_of_one_chunk_is_the_same_work_either_way() -> None:
    index = make_index(60)
    keys = [plan_video(make_job(end=60, seams=seams), index, SAMPLED).chunks[0].chunk_key for seams in (USUAL, JOINT)]
    assert keys[0] == keys[1]


def test_a_shot_beyond_the_limit_is_refused_with_the_way_out() -> None:
    frames = JOINT_FRAMES + 1
    with pytest.raises(PermanentError, match=r"at most 1041 frames.*cuts"):
        plan_video(make_job(end=frames, seams=JOINT), make_index(frames), SAMPLED)
    plan_video(make_job(end=frames), make_index(frames), SAMPLED)
