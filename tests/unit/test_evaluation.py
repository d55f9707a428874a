"""What evaluation calls done: the exact answer, also blurred or noisy as by a VAE, and nothing that is not it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from metrics.displacement import best_match
from metrics.psnr import psnr
from metrics.ssim import ssim_map
from sama_model.cards import card
from sama_model.config import Geometry, WeightsCard
from sama_model.editors import load
from sama_model.editors.passthrough import PassthroughEditor
from sama_model.evaluation.alternatives import alternatives
from sama_model.evaluation.evaluate import chosen, evaluated, rows_of, world_of
from sama_model.evaluation.scores import Scores, Truth, truth_of
from sama_model.evaluation.sheet import Shown
from sama_model.training.world.edits import Recolour
from sama_model.training.world.rules import WORLD, WORLDS
from sama_model.training.world.samples import planned
from sama_model.training.world.splits import Split, kinds

pytestmark = pytest.mark.model

Frames = np.ndarray
SEED = 40


@pytest.fixture(scope="module")
def truths() -> dict[str, Truth]:
    """One sample of each kind of edit."""
    return {kind: truth_of(planned(SEED, 1, Split.SEEN, kind)) for kind in kinds(WORLD, Split.SEEN)}


def blurred(frames: Frames) -> Frames:
    """Half the resolution: worse than a VAE that is of use."""
    small = [cv2.resize(frame, (56, 32), interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack([cv2.resize(frame, (112, 64), interpolation=cv2.INTER_CUBIC) for frame in small])


def noisy(frames: Frames) -> Frames:
    grain = np.random.default_rng(0).normal(0, 8, frames.shape)
    return np.clip(frames + grain, 0, 255).astype(np.uint8)


def test_the_exact_answer_is_done_also_when_its_grain_is_lost_and_the_source_is_not(truths: dict[str, Truth]) -> None:
    for kind, truth in truths.items():
        source, target = truth.sample.source, truth.sample.target
        for name, frames in {"exact": target, "blurred": blurred(target), "noisy": noisy(target)}.items():
            assert truth.scores(frames).success, (kind, name)
        half = ((source.astype(int) + target) // 2).astype(np.uint8)
        noise = np.random.default_rng(1).integers(0, 256, source.shape, dtype=np.uint8)
        for name, frames in {"source": source, "half": half, "noise": noise, "black": np.zeros_like(source)}.items():
            assert not truth.scores(frames).success, (kind, name)


def test_another_edit_is_not_done(truths: dict[str, Truth]) -> None:
    """Every alternative, but a small thing's shape that differs from the asked one in less than can be told apart."""
    for kind, truth in truths.items():
        plan = truth.sample.plan
        assert plan.target not in alternatives(plan, WORLD)
        assert len(truth.alternatives) >= 7
        told_apart = [truth.scores(other).success for other in truth.alternatives]
        assert sum(told_apart) <= (1 if kind == "recolour" else 0), kind


def test_a_recoloured_thing_has_another_colour_another_shape_or_is_gone_in_the_alternatives() -> None:
    plan = planned(SEED, 0, Split.SEEN, "recolour")
    (edit,) = plan.edits
    assert isinstance(edit, Recolour)
    scenes = alternatives(plan, WORLD)
    changed = [[thing for thing in scene.things if thing not in plan.target.things] for scene in scenes]
    looks = {thing.look for things in changed for thing in things}
    wanted = replace(edit.thing.look, colour=edit.colour)
    assert {look.colour for look in looks if look.shape == wanted.shape} == {c.name for c in WORLD.colours} - {
        edit.colour
    }
    assert {look.shape for look in looks if look.colour == wanted.colour} == {s.name for s in WORLD.shapes} - {
        wanted.shape
    }
    assert sum(len(scene.things) < len(plan.source.things) for scene in scenes) == 1


def shifted(frames: Frames, x: float, y: float) -> Frames:
    way = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return np.stack([cv2.warpAffine(frame, way, (112, 64), borderMode=cv2.BORDER_REPLICATE) for frame in frames])


def test_the_path_of_a_shifted_clip_is_off_by_the_shift_and_that_of_a_wrong_colour_by_nothing() -> None:
    truth = truth_of(planned(SEED, 1, Split.SEEN, "recolour"))
    assert truth.scores(truth.sample.target).trajectory_px == 0
    for way in ((2.0, 0.0), (0.0, -1.5), (3.0, 4.0)):
        scores = truth.scores(shifted(truth.sample.target, *way))
        assert scores.trajectory_px == pytest.approx(np.hypot(*way), abs=0.3)
    unedited = truth.scores(truth.sample.source)
    assert unedited.trajectory_px == pytest.approx(0, abs=0.1)
    assert unedited.found is not None
    assert unedited.found > 0.9
    noise = np.random.default_rng(1).integers(0, 256, truth.sample.source.shape, dtype=np.uint8)
    assert truth.scores(noise).found == 0
    assert truth.scores(noise).trajectory_px is None


def test_a_clip_that_shimmers_flickers(truths: dict[str, Truth]) -> None:
    truth = truths["remove"]
    lighter = truth.sample.target.copy()
    lighter[::2] = np.minimum(lighter[::2], 245) + np.uint8(10)
    assert truth.scores(truth.sample.target).flicker == 0
    assert 5 < truth.scores(lighter).flicker < 12


def test_no_edit_scores_as_the_baseline_and_the_sheet_shows_it() -> None:
    editor = load("passthrough", "builtin")
    shown, lines = Shown(), []
    for edited in evaluated(editor, None, chosen(SEED, 3, (Split.SEEN, Split.NEW_LOOKS))):
        shown.add(edited)
        lines.append(edited.measured)
    assert all(line.result == line.no_edit and line.ceiling is None for line in lines)
    rows = rows_of(lines)
    assert [(row.split, row.kind, row.count) for row in rows] == [
        *(("seen", kind, 1) for kind in ("replace", "add", "remove")),
        ("seen", "all", 3),
        *(("new-looks", kind, 1) for kind in ("replace", "add", "remove")),
        ("new-looks", "all", 3),
    ]
    assert all(row.result.success == 0 and row.result.psnr_outside == 100 for row in rows)
    picture = cv2.imdecode(np.frombuffer(shown.png(), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1] > 2 * 3 * 112 * 2


def test_only_held_out_samples_are_evaluated_on() -> None:
    with pytest.raises(ValueError, match=r"TRAIN: not held out; there are SEEN, NEW_LOOKS, NEW_WORDS"):
        chosen(SEED, 1, (Split.TRAIN,))


# -- the measures -----------------------------------------------------------------------------------------------------


def waves() -> tuple[Frames, Frames]:
    y, x = np.mgrid[:24, :40]
    one = 128 + 90 * np.sin(x / 3) * np.cos(y / 4)
    return one, one + 20 * np.sin(x * 1.3 + y * 0.7)


def test_ssim_and_psnr_are_those_of_scikit_image() -> None:
    """Recorded with scikit-image 0.26.0: gaussian_weights, sigma 1.5, population covariance, data range 255."""
    one, other = waves()
    index = ssim_map(one, other)
    assert index.mean() == pytest.approx(0.8467510789914812, abs=1e-6)
    assert [index[0, 0], index[10, 20], index[23, 39]] == pytest.approx(
        [0.8946318453025484, 0.9041877454946463, 0.7804501525255726], abs=1e-6
    )
    error = np.full((1, 4, 4, 3), 100, np.uint8)
    everywhere = np.ones((1, 4, 4), bool)
    assert psnr(error + np.uint8(10), error, everywhere) == pytest.approx(28.1308, abs=1e-4)
    assert psnr(error, error, everywhere) == 100
    assert psnr(error, error, ~everywhere) is None


def test_a_thing_is_found_where_it_is_to_a_tenth_of_a_pixel() -> None:
    rng = np.random.default_rng(3)
    known = cv2.GaussianBlur(rng.integers(0, 256, (40, 60, 3)).astype(np.float32), (0, 0), 1.5)
    where = np.zeros((40, 60), np.float32)
    where[14:24, 20:32] = 1
    moved = cv2.warpAffine(known, np.array([[1, 0, 2.4], [0, 1, -3.2]], np.float32), (60, 40))
    found = best_match(moved, known, where, 6)
    assert (found.x, found.y) == pytest.approx((2.4, -3.2), abs=0.1)
    assert best_match(known, known, where, 6).missed == 0


def test_scores_have_the_fields_that_programs_read() -> None:
    fields = ("success", "psnr_inside", "psnr_outside", "ssim_inside", "ssim_outside", "trajectory_px", "found")
    assert tuple(Scores.__dataclass_fields__) == (*fields, "flicker")


# -- worlds -----------------------------------------------------------------------------------------------------------


def card_like(world: str) -> WeightsCard:
    """A card with the picture and the frames of a world."""
    rules = WORLDS[world]
    geometry = Geometry(rules.frames, 4, 0)
    return replace(card("passthrough", "builtin"), geometry=geometry, buckets=((rules.width, rules.height),))


def test_weights_are_measured_in_the_world_that_they_were_made_for() -> None:
    assert {world: world_of(card_like(world)) for world in WORLDS} == {"full": "full", "small": "small"}
    longer = replace(card_like("small"), geometry=Geometry(17, 12, 4))
    assert [world_of(each) for each in (card("sama", "tiny"), card("passthrough", "builtin"), longer)] == ["full"] * 3


def test_a_clip_of_the_small_world_is_edited_as_it_is_and_too_long_a_one_refused() -> None:
    editor = PassthroughEditor(card_like("small"))
    (edited,) = evaluated(editor, None, chosen(SEED, 1, (Split.SEEN,), "small"))
    assert edited.frames.shape == (5, 32, 56, 3)
    assert np.array_equal(edited.frames, edited.truth.sample.source)
    with pytest.raises(ValueError, match="5 frames at once; clips of the world have 17"):
        next(evaluated(editor, None, chosen(SEED, 1, (Split.SEEN,))))


def test_the_exact_answer_is_done_in_the_small_world_too_and_the_source_is_not() -> None:
    rules = WORLDS["small"]
    for kind in kinds(rules, Split.SEEN):
        truth = truth_of(planned(SEED, 1, Split.SEEN, kind, rules), rules)
        assert truth.scores(truth.sample.target).success, kind
        assert not truth.scores(truth.sample.source).success, kind
