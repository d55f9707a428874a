"""Chunks hold to the geometry of the weights; keys hold what decides pixels and nothing else."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edits import wire
from edits.errors import PermanentError
from edits.job import EditJob, Sampling, VideoPlan
from edits.media.records import Colour
from edits.plan import chunk_ranges, estimate, plan_video, shots_of, total, working_size
from sama_model.config import Geometry, Recipe
from tests.fakes.intake import SAMA_GEOMETRY, SAMPLED, make_card, make_index

TINY = Geometry(chunk_frames=17, stride=12, lead=4)
GEOMETRIES = st.sampled_from([SAMA_GEOMETRY, TINY, Geometry(81, 72, 4), Geometry(81, 76, 4), Geometry(5, 4, 0)])


def make_job(**changes: object) -> EditJob:
    fields: dict[str, object] = {
        "job_id": "j",
        "manifest_id": "m",
        "line": 2,
        "source": "file:///a.mp4",
        "source_sha256": "5" * 64,
        "start": 0,
        "end": 300,
        "instruction": "winter",
        "editor": "sama",
        "weights": "tiny",
        "weights_digest": "d1",
        "preset": "quality",
        "seed": 0,
        "sampling": Sampling(50, 5.0, 4.0),
        "deliverable": "h264",
        "detail": "full",
        "output": "file:///o.mp4",
        "project": "",
        "priority": 0,
        "notes": "",
    }
    return EditJob(**{**fields, **changes})  # type: ignore[arg-type]


def spans(start: int, end: int, geometry: Geometry = SAMA_GEOMETRY) -> list[tuple[int, int, int]]:
    return [(chunk.start, chunk.end, chunk.padding) for chunk in chunk_ranges(start, end, geometry)]


# -- chunks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (1, [(0, 1, 0)]),
        (2, [(0, 2, 3)]),
        (5, [(0, 5, 0)]),
        (80, [(0, 80, 1)]),
        (81, [(0, 81, 0)]),
        (82, [(0, 81, 0), (4, 82, 3)]),
        (85, [(0, 81, 0), (4, 85, 0)]),
        (145, [(0, 81, 0), (64, 145, 0)]),
        (146, [(0, 81, 0), (64, 145, 0), (68, 146, 3)]),
        (300, [(0, 81, 0), (64, 145, 0), (128, 209, 0), (192, 273, 0), (220, 300, 1)]),
    ],
)
def test_a_shot_of_so_many_frames_is_cut_like_this(frames: int, expected: list[tuple[int, int, int]]) -> None:
    assert spans(0, frames) == expected
    assert spans(1000, 1000 + frames) == [(start + 1000, end + 1000, pad) for start, end, pad in expected]


@given(st.integers(0, 10**6), st.integers(1, 3000), GEOMETRIES)
def test_chunks_cover_the_shot_and_nothing_else(start: int, frames: int, geometry: Geometry) -> None:
    chunks = chunk_ranges(start, start + frames, geometry)
    assert (chunks[0].start, chunks[-1].end) == (start, start + frames)
    assert all(start <= chunk.start < chunk.end <= start + frames for chunk in chunks)
    assert all(before.start < after.start for before, after in pairwise(chunks))
    assert all(before.end <= after.end for before, after in pairwise(chunks))


@given(st.integers(0, 10**6), st.integers(1, 3000), GEOMETRIES)
def test_frames_without_weight_are_covered_by_the_chunk_before(start: int, frames: int, geometry: Geometry) -> None:
    chunks = chunk_ranges(start, start + frames, geometry)
    overlap = geometry.chunk_frames - geometry.stride
    assert chunks[0].lead == 0
    for before, after in pairwise(chunks):
        assert after.lead == geometry.lead
        assert before.end - after.start >= overlap > after.lead
        assert after.end - after.start > after.lead


@given(st.integers(0, 10**6), st.integers(1, 3000), GEOMETRIES)
def test_chunks_stand_on_the_grid_of_latents(start: int, frames: int, geometry: Geometry) -> None:
    chunks = chunk_ranges(start, start + frames, geometry)
    for chunk in chunks:
        length = chunk.end - chunk.start + chunk.padding
        assert (chunk.start - start) % 4 == 0
        assert length % 4 == 1
        assert 0 <= chunk.padding <= 3
        assert length <= geometry.chunk_frames
    if len(chunks) > 1:
        assert all(chunk.end - chunk.start + chunk.padding == geometry.chunk_frames for chunk in chunks)
        assert all(chunk.padding == 0 for chunk in chunks[:-1])


@given(st.integers(1, 3000), GEOMETRIES)
def test_no_chunk_is_more_than_the_frames_need(frames: int, geometry: Geometry) -> None:
    chunks = chunk_ranges(0, frames, geometry)
    needed = 1 + max(0, -(-(frames - geometry.chunk_frames) // geometry.stride))
    assert len(chunks) == needed


@given(st.integers(1, 3000))
def test_at_most_three_chunks_of_sama_cover_a_frame(frames: int) -> None:
    chunks = chunk_ranges(0, frames, SAMA_GEOMETRY)
    borders = [chunk.start for chunk in chunks]
    assert all(sum(chunk.start <= frame < chunk.end for chunk in chunks) <= 3 for frame in borders)


@given(st.integers(82, 1500), st.integers(1, 500))
def test_a_longer_shot_keeps_the_chunks_that_it_has(frames: int, more: int) -> None:
    shorter, longer = chunk_ranges(0, frames, SAMA_GEOMETRY), chunk_ranges(0, frames + more, SAMA_GEOMETRY)
    assert longer[: len(shorter) - 1] == shorter[:-1]


@pytest.mark.parametrize(
    "geometry",
    [Geometry(80, 64, 4), Geometry(81, 62, 4), Geometry(81, 80, 4), Geometry(81, 64, 17), Geometry(81, 0, 4)],
)
def test_a_geometry_without_a_safe_overlap_is_refused(geometry: Geometry) -> None:
    with pytest.raises(PermanentError, match="card"):
        chunk_ranges(0, 10, geometry)


def test_an_empty_shot_is_refused() -> None:
    with pytest.raises(PermanentError, match="no frames"):
        chunk_ranges(10, 10, SAMA_GEOMETRY)


# -- shots ------------------------------------------------------------------------------------------------------------


def test_shots_are_cut_at_cuts_inside_the_range_only() -> None:
    index = make_index(cuts=(50, 120, 200))
    assert shots_of(index, 50, 200) == ((50, 120), (120, 200))
    assert shots_of(index, 60, 100) == ((60, 100),)


@st.composite
def planned(draw: st.DrawFn) -> VideoPlan:
    frames = draw(st.integers(1, 900))
    cuts = tuple(sorted(draw(st.sets(st.integers(1, max(1, frames - 1)), max_size=6)) - {frames}))
    start = draw(st.integers(0, frames - 1))
    end = draw(st.integers(start + 1, frames))
    return plan_video(make_job(start=start, end=end), make_index(frames=frames, cuts=cuts), SAMPLED)


@given(planned())
def test_shots_tile_the_range_and_no_chunk_crosses_a_cut(plan: VideoPlan) -> None:
    assert (plan.shots[0][0], plan.shots[-1][1]) == (plan.job.start, plan.job.end)
    assert all(before[1] == after[0] for before, after in pairwise(plan.shots))
    for chunk in plan.chunks:
        start, end = plan.shots[chunk.shot]
        assert start <= chunk.start < chunk.end <= end
        assert chunk.noise_origin == start
        assert (chunk.start - chunk.noise_origin) % 4 == 0


@given(planned())
def test_every_frame_of_the_range_is_edited_and_chunks_are_numbered_in_order(plan: VideoPlan) -> None:
    covered = {frame for chunk in plan.chunks for frame in range(chunk.start, chunk.end)}
    assert covered == set(range(plan.job.start, plan.job.end))
    assert [chunk.index for chunk in plan.chunks] == list(range(len(plan.chunks)))
    assert len({chunk.chunk_key for chunk in plan.chunks}) == len(plan.chunks)


def test_a_plan_survives_the_store() -> None:
    plan = plan_video(make_job(), make_index(cuts=(100,)), SAMPLED)
    assert wire.load(VideoPlan, wire.dump(plan), "plan.json") == plan


# -- keys -------------------------------------------------------------------------------------------------------------


def keys(
    job: EditJob | None = None, card: dict[str, object] | None = None, index: dict[str, object] | None = None
) -> tuple[str, str]:
    """(input key, chunk key) of the only chunk of a short shot."""
    source = make_index(frames=300, cuts=(40,), **(index or {}))
    weights = replace(SAMPLED, **(card or {}))
    row = job or make_job(start=40, end=100)
    row = replace(row, source_sha256=source.sha256, weights_digest=weights.digest, editor=weights.editor)
    (chunk,) = plan_video(row, source, weights).chunks
    return chunk.input_key, chunk.chunk_key


PLAIN = keys()


@pytest.mark.parametrize(
    "index",
    [
        {"sha256": "6" * 64},
        {"stream": 1},
        {"colour": Colour("smpte170m", "bt709", "bt709", "tv")},
        {"colour": Colour("bt709", "bt709", "bt709", "pc")},
        {"width": 320},
        {"sample_aspect_ratio": Fraction(4, 3)},
    ],
)
def test_what_changes_the_inputs_pixels_changes_both_keys(index: dict[str, object]) -> None:
    changed = keys(index=index)
    assert changed[0] != PLAIN[0]
    assert changed[1] != PLAIN[1]


@pytest.mark.parametrize("frames", [(40, 99), (44, 100)])
def test_other_frames_have_other_keys(frames: tuple[int, int]) -> None:
    changed = keys(make_job(start=frames[0], end=frames[1]))
    assert changed[0] != PLAIN[0]
    assert changed[1] != PLAIN[1]


@pytest.mark.parametrize(
    "change",
    [
        {"instruction": "summer"},
        {"seed": 1},
        {"sampling": Sampling(49, 5.0, 4.0)},
        {"sampling": Sampling(50, 5.1, 4.0)},
        {"sampling": Sampling(50, 5.0, 3.0)},
        {"sampling": None},
    ],
)
def test_what_changes_only_the_edit_keeps_the_input(change: dict[str, object]) -> None:
    changed = keys(make_job(start=40, end=100, **change))
    assert changed[0] == PLAIN[0]
    assert changed[1] != PLAIN[1]


@pytest.mark.parametrize("card", [{"editor_version": "2"}, {"digest": "d2"}, {"numerics": "bf16"}, {"editor": "other"}])
def test_another_model_keeps_the_input(card: dict[str, object]) -> None:
    changed = keys(card=card)
    assert changed[0] == PLAIN[0]
    assert changed[1] != PLAIN[1]


@pytest.mark.parametrize(
    "change",
    [
        {"preset": "fast"},
        {"job_id": "other"},
        {"manifest_id": "other"},
        {"line": 9},
        {"source": "s3://b/other.mp4"},
        {"output": "file:///other.mov"},
        {"weights": "renamed"},
        {"deliverable": "ffv1"},
        {"detail": "upscale"},
        {"project": "p"},
        {"priority": 9},
        {"notes": "n"},
    ],
)
def test_names_places_and_priorities_are_in_no_key(change: dict[str, object]) -> None:
    assert keys(make_job(start=40, end=100, **change)) == PLAIN


@pytest.mark.parametrize(
    "change", [{"name": "renamed"}, {"seconds_per_frame": 9.0}, {"reference_device": "H200"}, {"recipes": ()}]
)
def test_what_a_card_says_for_people_is_in_no_key(change: dict[str, object]) -> None:
    assert keys(card=change) == PLAIN


def test_colours_that_are_assumed_and_colours_that_are_stated_alike_make_one_input() -> None:
    assumed = Colour("bt709", "bt709", "bt709", "tv", assumed=("matrix",))
    assert keys(index={"colour": assumed}) == PLAIN


def test_two_jobs_over_the_same_shot_share_their_inputs() -> None:
    index = make_index(cuts=(150,))
    whole = plan_video(make_job(), index, SAMPLED)
    shot = plan_video(make_job(start=150, instruction="summer"), index, SAMPLED)
    assert {chunk.input_key for chunk in shot.chunks} <= {chunk.input_key for chunk in whole.chunks}


def test_a_plan_is_made_only_with_what_its_job_was_made_from() -> None:
    with pytest.raises(PermanentError, match="run it again"):
        plan_video(make_job(source_sha256="7" * 64), make_index(), SAMPLED)
    with pytest.raises(PermanentError, match="run it again"):
        plan_video(make_job(weights_digest="d2"), make_index(), SAMPLED)


# -- sizes and estimates ----------------------------------------------------------------------------------------------


def test_the_working_size_follows_the_shape_that_is_shown() -> None:
    card = make_card(buckets=((832, 480), (736, 544), (480, 832)))
    assert working_size(make_index(width=1440, height=1080), card) == (736, 544)
    assert working_size(make_index(width=1440, height=1080, sample_aspect_ratio=Fraction(4, 3)), card) == (832, 480)
    plan = plan_video(make_job(weights_digest="", editor="grade"), make_index(), card)
    assert (plan.width, plan.height, plan.fit) == (832, 480, "squeeze")


def test_an_estimate_counts_overlaps_and_padding() -> None:
    index = make_index(width=1920, height=1080)
    plan = plan_video(make_job(), index, replace(SAMPLED, buckets=((832, 480),)))
    figures = estimate(plan, index, SAMPLED)
    assert (figures.frames, figures.chunks, figures.edited_frames) == (300, 5, 405)
    assert figures.seconds == pytest.approx(405 * 0.5)
    assert figures.store_bytes == pytest.approx(5 * 2 * 9.8e6, rel=0.02)
    assert figures.scratch_bytes >= 300 * 1920 * 1080


def test_an_estimate_grows_with_the_steps_that_the_job_takes() -> None:
    index = make_index()
    figures = estimate(plan_video(make_job(sampling=Sampling(25, 5.0, 4.0)), index, SAMPLED), index, SAMPLED)
    assert figures.seconds == pytest.approx(405 * 0.5 / 2)


def test_an_editor_without_a_sampler_takes_the_time_of_its_card() -> None:
    index, card = make_index(), make_card()
    plan = plan_video(make_job(editor="grade", weights_digest="", sampling=None), index, card)
    assert estimate(plan, index, card).seconds == pytest.approx(405 * 0.5)


def test_estimates_add_up_and_scratch_is_reused() -> None:
    index = make_index()
    one = estimate(plan_video(make_job(), index, SAMPLED), index, SAMPLED)
    other = estimate(plan_video(make_job(end=100), index, SAMPLED), index, SAMPLED)
    both = total([one, other])
    assert (both.frames, both.chunks) == (400, one.chunks + other.chunks)
    assert both.scratch_bytes == one.scratch_bytes
    assert total([]).frames == 0


def test_recipes_of_the_card_are_the_jobs_unit_of_effort() -> None:
    index = make_index()
    card = replace(SAMPLED, recipes=(("fast", Recipe(10, 1.0, 1.0)),))
    plan = plan_video(make_job(sampling=Sampling(20, 1.0, 1.0)), index, card)
    assert estimate(plan, index, card).seconds == pytest.approx(405 * 0.5 * 2)


def test_what_a_row_asks_of_its_source_is_in_the_input_keys() -> None:
    """Each decides the pixels of a chunk's input, so that none of them may share one with another."""
    index = make_index(frames=40, interlaced=40)
    hdr = replace(index, colour=replace(index.colour, transfer="smpte2084"))
    plans = [
        plan_video(make_job(end=40, **asked), source, SAMPLED)
        for asked, source in (({}, index), ({"fit": "pad"}, index), ({"interlaced": "deinterlace"}, index), ({}, hdr))
    ]
    assert len({plan.chunks[0].input_key for plan in plans}) == 4


@pytest.mark.parametrize(
    ("deliverable", "changes", "deep"),
    [
        ("h264", {}, False),
        ("prores_4444", {}, True),
        ("prores_4444", {"alpha": True}, True),
        ("png_sequence", {}, False),
        ("png_sequence", {"bit_depth": 10, "pixel_format": "yuv422p10le"}, True),
        ("ffv1", {"colour": Colour("gbr", "bt709", "iec61966-2-1", "pc"), "pixel_format": "yuv444p"}, False),
        ("match", {}, False),
    ],
)
def test_every_deliverable_can_be_planned_and_says_whether_it_is_deep(
    deliverable: str, changes: dict[str, object], deep: bool
) -> None:
    job = make_job(end=40, deliverable=deliverable, alpha="carry")
    assert plan_video(job, make_index(frames=40, **changes), SAMPLED).deep == deep


def test_a_jobs_own_cuts_are_its_shots() -> None:
    plan = plan_video(make_job(end=40, cuts=(10, 25)), make_index(frames=40, cuts=(7,)), SAMPLED)
    assert plan.shots == ((0, 10), (10, 25), (25, 40))


@pytest.mark.parametrize(
    ("job", "index", "card", "deep"),
    [
        ({}, {}, SAMPLED, False),
        ({"deliverable": "prores_422_hq"}, {}, SAMPLED, True),
        ({}, {"bit_depth": 10, "pixel_format": "yuv420p10le"}, SAMPLED, True),
        ({"deliverable": "prores_422_hq", "editor": "grade", "sampling": None}, {}, make_card(digest="d1"), False),
    ],
)
def test_sixteen_bits_are_asked_for_where_a_model_has_them_and_somebody_keeps_them(job, index, card, deep) -> None:
    plan = plan_video(make_job(**job), make_index(**index), card)
    eight = plan_video(make_job(), make_index(), SAMPLED)
    assert plan.deep == deep
    if card is SAMPLED:
        assert (plan.chunks[0].chunk_key != eight.chunks[0].chunk_key) == deep
