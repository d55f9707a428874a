"""A stage trains on pairs on disk, and says which of them it left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sama_model.errors import WeightsError
from sama_model.training.curriculum import read as read_curriculum
from sama_model.training.data import Bad, BadExampleError
from sama_model.training.driver import build
from sama_model.training.loop import Progress
from sama_model.training.pairs import Pairs, read
from sama_model.training.trainer import train
from tests.fakes.clips import write_clip
from tests.fakes.training import networks, settings

pytestmark = pytest.mark.model

MICRO_FILE = Path(__file__).parents[1] / "fakes" / "micro.toml"


def test_a_bad_row_is_told_with_its_step_and_the_others_are_trained_on(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, frames=5, audio=False)
    lines = ["source,target,instruction", "a.mp4,b.mp4,make it blue", "gone.mp4,b.mp4,make it red"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    pairs = read(tmp_path / "pairs.csv", (32, 32), 5, batch=2)
    told: list[Progress] = []
    train(networks(), pairs, settings(2), tmp_path / "run", told.append)
    gone = "row 2: gone.mp4: No such file or directory"
    assert [[bad.reason for bad in step.bad] for step in told] == [[gone], [gone]]
    assert isinstance(told[0].bad[0], Bad)
    assert all(np.isfinite(step.figure("total")) for step in told)


def test_a_step_without_an_example_changes_nothing_and_many_of_them_end_the_training(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", frames=5, audio=False)
    lines = ["source,target,instruction", "a.mp4,a.mp4,make it blue", "gone.mp4,a.mp4,make it red"]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    told: list[Progress] = []

    def one_by_one() -> Pairs:
        return read(tmp_path / "pairs.csv", (32, 32), 5, batch=1)

    average = train(networks(), one_by_one(), replace(settings(4), batch=1), tmp_path / "run", told.append)
    assert sorted(len(step.bad) for step in told) == [0, 0, 1, 1]
    assert [bool(step.figures) for step in told] == [not step.bad for step in told]
    assert average.optimization_step == 2
    first = networks()
    (tmp_path / "pairs.csv").write_text("\n".join([lines[0], lines[2]]))
    before = [parameter.clone() for parameter in first.transformer.parameters()]
    with pytest.raises(
        BadExampleError, match=r"20 steps one after the other, to step 20, .* row 1: gone\.mp4: No such"
    ):
        train(first, one_by_one(), replace(settings(40), batch=1), tmp_path / "vain", told.append)
    assert all(torch.equal(*both) for both in zip(before, first.transformer.parameters(), strict=True))


def test_a_curriculum_that_names_a_table_trains_its_second_stage_on_it(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, frames=17, audio=False)
    (tmp_path / "pairs.csv").write_text("before,after,prompt\na.mp4,b.mp4,make it blue\ngone.mp4,b.mp4,make it red\n")
    columns = 'columns = { source = "before", target = "after", instruction = "prompt" }'
    text = MICRO_FILE.read_text() + f'\n[pairs]\ntable = "pairs.csv"\n{columns}\n'
    (tmp_path / "mine.toml").write_text(text)
    mine = read_curriculum(tmp_path / "mine.toml")
    assert mine.data() != replace(mine, pairs=None).data()
    told: list[Progress] = []
    build(mine.shortened(1), tmp_path / "run", told.append)
    assert [bad.reason for bad in told[-1].bad] == ["row 2: gone.mp4: No such file or directory"]
    with pytest.raises(WeightsError, match=r"pairs\.csv: outside the allowed folders"):
        mine.within([str(tmp_path / "elsewhere")]).first()
    assert repr(mine.within([str(tmp_path)]).first()) == repr(mine.first())
    (tmp_path / "pairs.csv").unlink()
    with pytest.raises(WeightsError, match=r"pairs\.csv: cannot be read"):
        mine.first()
