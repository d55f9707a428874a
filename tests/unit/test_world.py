"""The drawn world: the same sample from the same seed, an exact target, and what is held out never in training."""

from __future__ import annotations

import hashlib
import re

import numpy as np
import pytest

from sama_model.training.world.drawing import draw
from sama_model.training.world.motion import PASSING, middle_of, path
from sama_model.training.world.rules import WORLD, WORLDS
from sama_model.training.world.samples import Plan, WorldSample, drawn, planned
from sama_model.training.world.scene import Background, Look, Scene, Thing
from sama_model.training.world.shapes import OUTLINES, sprite
from sama_model.training.world.splits import Split, allowed_pairs, held_out_pairs, kinds, wordings
from sama_model.training.world.styles import STYLES, styled

PINNED = {
    "full": (
        "4a7464bf0e13b0fd99bbc1c14e399f9b43fe8ce4738c2adce1ea0f5080f81dac",
        "bba21066e315f5123b64946e81109d9439944713b6057b32a45046ebdd2996d5",
        (138.591, 130.487, 98.000),
    ),
    "small": (
        "b00af220646fd5faa78fcc8d31b70602ae05a09090765ca596f8d570b418de93",
        "f5fb2bbdb742c4a500fb7ccdb58b4f939ab46458285d90c1a1fa267f782421c7",
        (112.261, 108.910, 98.358),
    ),
}
"""Of each world: digest of the rules; of the instructions of a sample of every split and kind, sha256, and mean levels
of source, target and mask. Results are only comparable under the same: change this only together with the version."""


def looks_of(plan: Plan) -> set[tuple[str, str]]:
    return {(thing.look.colour, thing.look.shape) for scene in (plan.source, plan.target) for thing in scene.things}


def samples(kind: str, count: int = 6) -> list[WorldSample]:
    return [drawn(planned(3, index, Split.SEEN, kind)) for index in range(count)]


def test_the_rules_are_the_ones_that_results_are_compared_under() -> None:
    for name, rules in WORLDS.items():
        of_each = [planned(3, 0, split, kind, rules) for split in Split for kind in kinds(rules, split)]
        said = hashlib.sha256("\n".join(plan.instruction for plan in of_each).encode()).hexdigest()
        clips = [drawn(plan, rules) for plan in of_each]
        levels = tuple(np.mean([getattr(clip, each).mean() for clip in clips]) for each in ("source", "target", "mask"))
        digest, instructions, means = PINNED[name]
        assert (rules.version, rules.digest(), said) == (1, digest, instructions)
        assert levels == pytest.approx(means, abs=0.02), "another machine may round a level otherwise"
    assert (WORLD.frames - 1) % 4 == 0
    assert WORLD.width % 16 == WORLD.height % 16 == 0


def test_what_the_rules_name_can_be_drawn() -> None:
    assert {shape.name for shape in WORLD.shapes} == set(OUTLINES)
    assert {style.name for style in WORLD.styles} == set(STYLES)


def test_a_seed_and_an_index_decide_everything() -> None:
    one, same, other = drawn(planned(1, 2)), drawn(planned(1, 2)), drawn(planned(1, 3))
    assert one.plan == same.plan
    assert np.array_equal(one.source, same.source)
    assert np.array_equal(one.target, same.target)
    assert not np.array_equal(one.source, other.source)
    assert planned(1, 2, Split.SEEN) != one.plan


@pytest.mark.parametrize("kind", WORLD.kinds)
def test_a_target_differs_inside_its_mask_and_nowhere_else(kind: str) -> None:
    for sample in samples(kind):
        assert sample.source.shape == sample.target.shape == (WORLD.frames, WORLD.height, WORLD.width, 3)
        differs = (sample.source != sample.target).any(axis=-1)
        assert differs.any()
        assert not (differs & (sample.mask == 0)).any()


def test_an_instruction_names_one_thing_of_the_scene() -> None:
    same = {word: shape.name for shape in WORLD.shapes for word in shape.words}
    tints = {word: colour.name for colour in WORLD.colours for word in colour.words}
    for index in range(200):
        plan = planned(5, index, Split.SEEN, "remove")
        words = re.findall(r"[a-z]+", plan.instruction.lower().replace("plus sign", "cross"))
        shape = next(same[word] for word in words if word in same)
        colours = {tints[word] for word in words if word in tints} or {colour.name for colour in WORLD.colours}
        fitting = [thing for thing in plan.source.things if thing.look.shape == shape and thing.look.colour in colours]
        fitting = [thing for thing in fitting if not {"small", "large"} & set(words) or thing.look.size in words]
        assert set(plan.source.things) - set(plan.target.things) <= set(fitting)
        textures = {"striped", "dotted", "spotted", "checked", "chequered"} & set(words)
        assert len(fitting) == 1 or textures, plan.instruction


def test_training_never_shows_a_held_out_combination() -> None:
    held_out = set(held_out_pairs(WORLD))
    assert len(held_out) == len(WORLD.shapes) == len({colour for colour, _ in held_out})
    assert held_out.isdisjoint(allowed_pairs(WORLD))
    for split in (Split.TRAIN, Split.SEEN, Split.NEW_WORDS):
        for index in range(300):
            assert held_out.isdisjoint(looks_of(planned(0, index, split))), (split, index)
    for kind in kinds(WORLD, Split.NEW_LOOKS):
        assert all(held_out & looks_of(planned(0, index, Split.NEW_LOOKS, kind)) for index in range(50))


def test_training_never_speaks_in_a_held_out_wording() -> None:
    patterns = [
        re.compile(re.sub(r"\\\{\w+\\\}", "(.+)", re.escape(template)) + r"\.?$", re.IGNORECASE)
        for templates in WORLD.grammar
        if templates.kind != "compound"
        for template in templates.held_out
    ]
    said = [planned(0, index).instruction for index in range(1500)]
    assert not [text for text in said for pattern in patterns if pattern.match(text)]
    new = [planned(0, index, Split.NEW_WORDS, "restyle").instruction for index in range(50)]
    assert all(any(pattern.match(text) for pattern in patterns) for text in new)
    for kind in WORLD.kinds:
        assert set(wordings(WORLD, Split.TRAIN, kind)).isdisjoint(wordings(WORLD, Split.NEW_WORDS, kind))


def test_a_split_without_a_kind_says_which_it_has() -> None:
    with pytest.raises(ValueError, match="'restyle' is no kind of edit of the split NEW_LOOKS; it has replace, add"):
        planned(0, 0, Split.NEW_LOOKS, "restyle")


def test_edges_are_soft_and_things_are_where_their_path_says() -> None:
    plan = planned(7, 0, Split.SEEN, "restyle")
    look = Look("disc", "red", "plain", "large")
    for thing in plan.source.things:
        scene = Scene(Background("sand"), plan.source.camera, (Thing(look, thing.motion),))
        cover = draw(scene).covers[0]
        centres, _ = path(thing.motion, WORLD)
        soft = (cover > 0.02) & (cover < 0.98)
        assert soft.any(axis=(1, 2)).all()
        y, x = np.mgrid[0 : WORLD.height, 0 : WORLD.width]
        middle = WORLD.frames // 2
        if 16 < centres[middle, 0] < WORLD.width - 16 and 16 < centres[middle, 1] < WORLD.height - 16:
            weight = cover[middle] / cover[middle].sum()
            seen = np.array([(x * weight).sum(), (y * weight).sum()])
            assert np.abs(seen - centres[middle]).max() < 0.2


def test_a_sprite_covers_about_what_its_shape_has() -> None:
    cover = sprite(WORLD, "disc", "blue", "plain", "large")[..., 3].sum() / 4
    assert cover == pytest.approx(np.pi * (0.92 * 13) ** 2, rel=0.02)


def test_a_front_thing_hides_what_is_behind_it() -> None:
    thing = planned(2, 0).source.things[0]
    twice = Scene(Background("grass"), (0.0, 0.0), (thing, thing))
    covers = draw(twice).covers
    assert (covers.sum(axis=0) <= 1 + 1e-5).all()
    assert covers[0].max() <= 0.25 + 1e-5  # a * (1 - a) of a soft edge, nothing of the inside


def test_a_crossing_thing_passes_the_one_that_it_crosses() -> None:
    met = 0
    half = (WORLD.frames - 1) / 2
    for index in range(150):
        things = planned(6, index).source.things
        for i, thing in enumerate(things[1:], 1):
            behind = [other.motion for other in things[:i]]
            middle = middle_of(thing.motion, half)
            crossed = [other for other in behind if np.allclose(middle_of(other, half), middle)]
            if thing.motion.kind == "crossing":
                met += len(crossed)
                assert crossed
                speeds = [np.hypot(*np.subtract(thing.motion.velocity, other.velocity)) for other in crossed]
                assert max(speeds) >= PASSING
    assert met > 10


@pytest.mark.parametrize("style", sorted(STYLES))
def test_a_style_is_a_function_of_one_frame(style: str) -> None:
    frames = drawn(planned(4, 1, kind="remove")).source
    whole = styled(style, frames)
    assert whole.dtype == np.uint8
    assert np.array_equal(whole[5], styled(style, frames[5:6])[0])
    assert np.abs(whole.astype(int) - frames).mean() > 5
