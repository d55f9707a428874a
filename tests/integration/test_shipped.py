"""The weights that ship: whole, small enough for a repository, and they do what they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sama_model.config import Options
from sama_model.editors import load
from sama_model.evaluation.evaluate import chosen, evaluated, world_of
from sama_model.folders import describe
from sama_model.installed import SHIPPED, read_card
from sama_model.training.curriculum import committed
from sama_model.training.world.splits import Split

MEGABYTE = 10**6
SEED = 4040
"""No figure of the development is of this seed."""


@pytest.fixture(params=sorted(path.name for path in SHIPPED.iterdir()))
def folder(request: pytest.FixtureRequest) -> Path:
    return SHIPPED / str(request.param)


def test_what_ships_is_what_its_card_says(folder: Path) -> None:
    describe(folder, verify=read_card(folder).parts)
    assert (folder / "README.md").read_text(encoding="utf-8").startswith(f"# {folder.name}\n")


def test_what_ships_can_be_kept_in_a_repository() -> None:
    sizes = {path: path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()}
    assert max(sizes.values()) <= 14 * MEGABYTE
    assert sum(sizes.values()) <= 24 * MEGABYTE


def test_the_card_is_that_of_the_committed_curriculum(folder: Path) -> None:
    card, curriculum = read_card(folder).card, committed(folder.name)
    assert card.recipes[0][1] == curriculum.sampling
    assert card.geometry.stride == curriculum.chunks.stride
    assert card.needs is not None
    assert card.needs.transformer == curriculum.transformer
    assert world_of(card) == curriculum.world


@pytest.mark.model
def test_pico_removes_restyles_and_recolours_what_it_has_not_seen() -> None:
    editor = load("sama", "pico", Options())
    kinds = ("remove", "restyle", "recolour")
    samples = [sample for sample in chosen(SEED, 35, (Split.SEEN,), "small") if sample.plan.kind in kinds]
    found = [edited.measured for edited in evaluated(editor, editor.card.recipes[0][1], samples)]
    assert [sum(each.kind == kind for each in found) for kind in kinds] == [5, 5, 5]
    removed, restyled, recoloured = (sum(each.result.success for each in found if each.kind == kind) for kind in kinds)
    assert removed + restyled >= 7
    assert recoloured >= 1
