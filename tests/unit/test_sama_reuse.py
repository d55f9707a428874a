"""Exact savings: each leaves the result as it is, really saves what it says, and combines as the table says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sama_model.reuse import EVERYTHING, EXACT, EXCLUDED, NOTHING, CombinationError, Memory, Reuse, check, legal
from sama_model.text import ROWS, without_padding
from sama_model.tokens import Joint
from sama_model.transformer import SamaTransformer3DModel
from tests.unit.test_sama_transformer import PATCHES, SEMANTIC, SIZES, inputs

TIMESTEPS = torch.tensor([1000.0, 937.5, 500.0])


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def network() -> SamaTransformer3DModel:
    torch.manual_seed(0)
    return SamaTransformer3DModel.of(SIZES).eval()


def two_texts() -> Tensor:
    """Of nine and five tokens."""
    texts = torch.cat([inputs(seed)["encoder_hidden_states"] for seed in (3, 4)])
    texts[0, 9:], texts[1, 5:] = 0, 0
    return texts


def said(network: SamaTransformer3DModel, reuse: Reuse, branches: int = 2) -> list[Joint]:
    """What the network says at each timestep, with one memory."""
    memory = Memory(reuse, TIMESTEPS)
    given = inputs() | {"encoder_hidden_states": two_texts()[:branches]}
    return [network(**given | {"timestep": TIMESTEPS[i : i + 1], "memory": memory}) for i in range(len(TIMESTEPS))]


def calls(network: SamaTransformer3DModel, reuse: Reuse, name: str) -> list[tuple[int, ...]]:
    """Shapes that the module `name` is given during `said`."""
    shapes: list[tuple[int, ...]] = []
    hook = network.get_submodule(name).register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0].shape)))
    said(network, reuse)
    hook.remove()
    return shapes


def only(name: str) -> Reuse:
    return replace(NOTHING, **{name: True})


@pytest.mark.parametrize("reuse", [*map(only, EXACT), EVERYTHING, Reuse()], ids=[*EXACT, "all", "default"])
def test_a_saving_changes_nothing_beyond_rounding(network: SamaTransformer3DModel, reuse: Reuse) -> None:
    for plain, saved in zip(said(network, NOTHING), said(network, reuse), strict=True):
        torch.testing.assert_close(saved.video, plain.video, rtol=0, atol=2e-6)
        torch.testing.assert_close(saved.semantic, plain.semantic, rtol=0, atol=2e-6)


def test_two_branches_in_one_forward_are_two_forwards(network: SamaTransformer3DModel) -> None:
    for i, text in enumerate(two_texts()):
        alone = network(**inputs() | {"encoder_hidden_states": text[None], "timestep": TIMESTEPS[1:2]})
        torch.testing.assert_close(said(network, EVERYTHING)[1].row(i).video, alone.video, rtol=0, atol=2e-6)


def test_a_memory_of_two_branches_serves_one(network: SamaTransformer3DModel) -> None:
    memory = Memory(EVERYTHING, TIMESTEPS)
    both = network(**inputs() | {"encoder_hidden_states": two_texts(), "memory": memory})
    first = network(**inputs() | {"encoder_hidden_states": two_texts()[:1], "memory": memory})
    torch.testing.assert_close(first.video, both.row(0).video, rtol=0, atol=2e-6)


N = 2 * PATCHES + SEMANTIC


@pytest.mark.parametrize(
    ("name", "module", "without", "with_it"),
    [
        ("source", "patch_embedding", 6, 4),
        ("text", "condition_embedder.text_embedder", 3, 1),
        ("text", "blocks.1.attn2.to_k", 3, 1),
        ("times", "condition_embedder.time_proj", 3, 1),
    ],
)
def test_what_is_kept_is_computed_once(
    network: SamaTransformer3DModel, name: str, module: str, without: int, with_it: int
) -> None:
    assert len(calls(network, NOTHING, module)) == without
    assert len(calls(network, only(name), module)) == with_it


@pytest.mark.parametrize(
    ("name", "module", "without", "with_it"),
    [
        ("shared_first", "blocks.0.attn1.to_q", (2, N, 24), (1, N, 24)),
        ("shared_first", "blocks.1.attn1.to_q", (2, N, 24), (2, N, 24)),
        ("pruned_last", "blocks.1.attn1.to_q", (2, N, 24), (2, N - PATCHES, 24)),
        ("pruned_last", "blocks.1.attn1.to_k", (2, N, 24), (2, N, 24)),
        ("pruned_last", "blocks.1.ffn", (2, N, 24), (2, N - PATCHES, 24)),
        ("head", "proj_out", (2, N, 24), (2, PATCHES, 24)),
        ("padding", "blocks.1.attn2.to_v", (2, 512, 24), (2, ROWS, 24)),
    ],
)
def test_rows_that_are_saved_are_not_computed(
    network: SamaTransformer3DModel, name: str, module: str, without: tuple[int, ...], with_it: tuple[int, ...]
) -> None:
    assert set(calls(network, NOTHING, module)) == {without}
    assert set(calls(network, only(name), module)) == {with_it}


def test_padding_that_would_be_rounded_and_texts_that_fill_all_rows_stay_as_they_are() -> None:
    texts = two_texts()
    assert without_padding(texts.bfloat16()).bias is None
    assert without_padding(torch.ones(1, 512, 8)).bias is None
    assert without_padding(texts).rows.shape == (2, ROWS, 8)
    weights = without_padding(texts).bias
    assert weights is not None
    torch.testing.assert_close(weights.exp().sum(-1).flatten(), torch.tensor([512.0, 512.0]))


# -- the table --------------------------------------------------------------------------------------------------------


def test_the_table_names_savings_that_there_are() -> None:
    assert {name for names in EXCLUDED.values() for name in names} <= set(EXACT)


@pytest.mark.parametrize(("mode", "name"), [(mode, name) for mode, names in EXCLUDED.items() for name in names])
def test_an_illegal_combination_names_both(mode: str, name: str) -> None:
    with pytest.raises(CombinationError, match=f"{mode} excludes {name}"):
        check(only(name), [mode])


@pytest.mark.parametrize("mode", EXCLUDED)
def test_what_is_left_of_the_savings_is_legal(mode: str) -> None:
    check(legal([mode], EVERYTHING), [mode])
    assert set(EVERYTHING.on) - set(legal([mode], EVERYTHING).on) == set(EXCLUDED[mode])
