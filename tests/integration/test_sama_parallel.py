"""One edit on two processes with gloo gives what one process gives: guidance branches, and rows of the sequence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from sama_model.pipeline import SamaPipeline
from sama_model.reuse import Reuse
from sama_model.rows import share_of
from sama_model.semantic import SemanticHead
from tests.fakes.three_layers import FRAMES, near, three_layers

pytestmark = pytest.mark.model

PROCESSES = 2


def edited(pipeline: SamaPipeline, **arguments: Any) -> Tensor:
    """Four steps, of which two are guided."""
    generator = torch.Generator().manual_seed(1)
    edit = pipeline(FRAMES, "make it snow", num_inference_steps=4, guided=0.5, generator=generator, **arguments)
    latents: Tensor = edit.latents
    return latents


def on_branches(pipeline: SamaPipeline) -> dict[str, Any]:
    pipeline.branch_group = dist.group.WORLD
    return {"latents": edited(pipeline), "modes": pipeline.modes()}


def on_rows(pipeline: SamaPipeline) -> dict[str, Any]:
    """The rows that this process puts through a block, and those that the heads are given, are noted."""
    seen: dict[str, list[int]] = {"block": [], "head": []}
    network = pipeline.transformer
    network.blocks[1].register_forward_pre_hook(lambda _, given: seen["block"].append(given[0].shape[1]))
    heads: SemanticHead = network.semantic_head
    heads.register_forward_pre_hook(lambda _, given: seen["head"].append(given[0].shape[1]))
    network.row_group = dist.group.WORLD
    return {"latents": edited(pipeline), "modes": pipeline.modes()} | {name: set(rows) for name, rows in seen.items()}


def refusals(pipeline: SamaPipeline) -> dict[str, str]:
    """What is said of calls that cannot be."""
    said: dict[str, str] = {}

    def note(name: str, call: Callable[[], object]) -> None:
        try:
            call()
        except ValueError as error:
            said[name] = str(error)

    pipeline.branch_group = dist.group.WORLD
    note("shared block 0", lambda: edited(pipeline, reuse=Reuse()))
    note("no seed", lambda: pipeline(FRAMES, "make it snow", num_inference_steps=1))
    pipeline.branch_group = dist.new_group([dist.get_rank()], use_local_synchronization=True)
    note("one process", lambda: edited(pipeline))
    pipeline.branch_group, pipeline.transformer.row_group = None, dist.group.WORLD
    note("pruned rows", lambda: edited(pipeline, reuse=Reuse(shared_first=False)))
    note("few rows", lambda: share_of(dist.group.WORLD, 1))
    return said


def worker(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES)
    try:
        said = {part.__name__: part(three_layers()) for part in (on_branches, on_rows, refusals)}
        torch.save(said, folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process found."""
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(worker, (folder,), nprocs=PROCESSES)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


@pytest.fixture(scope="module")
def alone() -> Tensor:
    with torch.no_grad():
        return edited(three_layers())


@pytest.mark.parametrize(
    ("way", "mode"), [("on_branches", "branch_parallel"), ("on_rows", "context_parallel")], ids=["branches", "rows"]
)
def test_two_processes_give_what_one_gives(said: list[dict[str, Any]], alone: Tensor, way: str, mode: str) -> None:
    first, second = (process[way]["latents"] for process in said)
    assert [process[way]["modes"] for process in said] == [(mode,)] * 2
    assert torch.equal(first, second)
    assert near(first, alone, 1e-5)


def test_an_odd_number_of_rows_is_dealt_unevenly_and_whole_again_before_the_heads(said: list[dict[str, Any]]) -> None:
    """2 x (2 x 2 x 3) patches and 65 semantic tokens: 89 rows."""
    assert [process["on_rows"]["block"] for process in said] == [{45}, {44}]
    assert {rows for process in said for rows in process["on_rows"]["head"]} == {65}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("shared block 0", "branch_parallel excludes shared_first"),
        ("pruned rows", "context_parallel excludes pruned_last"),
        ("one process", "runs on 2 processes, not 1"),
        ("no seed", "give each a generator of the same seed"),
        ("few rows", "1 rows cannot be dealt to 2 processes"),
    ],
)
def test_what_processes_cannot_do_together_is_refused(said: list[dict[str, Any]], call: str, sentence: str) -> None:
    assert all(sentence in process["refusals"][call] for process in said)
