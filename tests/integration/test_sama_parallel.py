"""The guidance branches on two processes with gloo give what one process gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sama_model.config import Recipe
from sama_model.guidance import Conditions
from sama_model.parallel import BranchParallel
from sama_model.reuse import CombinationError, Reuse, legal
from sama_model.sampling import denoise
from sama_model.tokens import Joint
from sama_model.transformer import SamaTransformer3DModel
from tests.unit.test_sama_reuse import two_texts
from tests.unit.test_sama_transformer import SIZES, inputs

RECIPE = Recipe(4, 5.0, 5.0, guided=0.5)


def alone(reuse: Reuse, wrap: Callable[[SamaTransformer3DModel], BranchParallel] | None = None) -> Joint:
    """One run; every process draws the same network and the same noise."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = SamaTransformer3DModel.of(SIZES).eval()
    given = inputs()
    start = Joint(given["hidden_states"], given["semantic_states"])
    conditions = Conditions(given["source_states"], two_texts())
    with torch.no_grad():
        return denoise(wrap(network) if wrap else network, start, conditions, RECIPE, lambda i, s: None, reuse)


def worker(rank: int, folder: Path, count: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count)
    try:
        edit = alone(legal(["branch_parallel"]), BranchParallel)
        torch.save({"video": edit.video, "semantic": edit.semantic}, folder / f"{rank}.pt")
        try:
            alone(Reuse(), BranchParallel)
        except CombinationError as error:
            (folder / f"{rank}.txt").write_text(str(error))
    finally:
        dist.destroy_process_group()


def refused(rank: int, folder: Path, count: int) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count)
    try:
        alone(legal(["branch_parallel"]), BranchParallel)
    except ValueError as error:
        (folder / f"{rank}.txt").write_text(str(error))
    finally:
        dist.destroy_process_group()


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    mp.spawn(worker, (tmp_path, 2), nprocs=2)
    single = alone(legal(["branch_parallel"]))
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert torch.equal(first["video"], second["video"])
    torch.testing.assert_close(first["video"], single.video, rtol=0, atol=1e-5)
    torch.testing.assert_close(first["semantic"], single.semantic, rtol=0, atol=1e-5)
    assert "branch_parallel excludes shared_first" in (tmp_path / "0.txt").read_text()


def test_another_number_of_processes_is_refused(tmp_path: Path) -> None:
    mp.spawn(refused, (tmp_path, 1), nprocs=1)
    assert "runs on 2 processes, not 1" in (tmp_path / "0.txt").read_text()
