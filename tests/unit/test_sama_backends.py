"""Attention back ends by name: unknown or absent ones are answered in a sentence, our own is reached by diffusers."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry, dispatch_attention_fn
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from edits.settings import ATTENTION
from sama_model.backends import BackendError, backend, exact_names, set_exact_backend
from sama_model.transformer import SamaTransformer3DModel
from tests.unit.test_sama_transformer import SIZES, inputs

pytestmark = pytest.mark.model

CPU = torch.device("cpu")


def test_an_unknown_back_end_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BackendError, match=r"no attention back end 'fastest'; there are fa3_fwd, .*native"):
        backend("fastest")


def test_the_settings_name_the_back_ends_that_are_exact_and_nothing_is_fetched() -> None:
    assert set(ATTENTION) == set(exact_names())
    network = SamaTransformer3DModel.of(SIZES)
    with pytest.raises(BackendError, match="'flash_hub' fetches a program"):
        set_exact_backend(network, "flash_hub", CPU)
    with pytest.raises(BackendError) as told:
        set_exact_backend(network, "fastest", CPU)
    assert not any(word in str(told.value) for word in ("hub", "sage", "fp8"))


def test_a_back_end_whose_package_is_absent_says_which() -> None:
    with pytest.raises(BackendError, match="needs the wheel fa3-fwd"):
        backend("fa3_fwd")
    with pytest.raises(BackendError, match=r"'flash' cannot be used here: .*missing package"):
        backend("flash")
    with pytest.raises(BackendError, match="'sage' cannot be used here"):
        SamaTransformer3DModel.of(SIZES).set_attention_backend("sage")


def test_a_back_end_that_is_installed_and_does_not_run_on_the_device_is_found_before_anything_is_edited() -> None:
    network = SamaTransformer3DModel.of(SIZES)
    with pytest.raises(BackendError, match=r"'_native_cudnn' cannot be used on this cpu in .*'native' always works"):
        set_exact_backend(network, "_native_cudnn", CPU)
    set_exact_backend(network, "_native_math", CPU)
    chosen = {block.attn1.processor._attention_backend for block in network.blocks}
    assert chosen == {AttentionBackendName._NATIVE_MATH}
    assert _AttentionBackendRegistry.get_active_backend()[0] == AttentionBackendName.NATIVE, "of other networks"


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """A stand-in for the wheel: its signature, torch's arithmetic; collects the dtypes that it is given."""
    seen: list[torch.dtype] = []

    def flash_attn_func(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        softmax_scale: float | None = None,
        q_descale: Tensor | None = None,
        k_descale: Tensor | None = None,
        v_descale: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        seen.append(q.dtype)
        scaled = [
            x.float() if scale is None else x.float() * scale[:, None, :, None]
            for x, scale in ((q, q_descale), (k, k_descale), (v, v_descale))
        ]
        out = scaled_dot_product_attention(*(x.transpose(1, 2) for x in scaled), scale=softmax_scale)
        return out.transpose(1, 2), torch.zeros(())

    module = ModuleType("fa3_fwd_interface")
    module.flash_attn_func = flash_attn_func  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fa3_fwd_interface", module)
    return seen


@torch.no_grad()
def test_our_own_back_end_computes_what_the_native_one_does(wheel: list[torch.dtype]) -> None:
    torch.manual_seed(0)
    network = SamaTransformer3DModel.of(SIZES).eval()
    plain = network(**inputs()).video
    network.set_attention_backend("fa3_fwd")
    torch.testing.assert_close(network(**inputs()).video, plain, rtol=0, atol=1e-6)
    assert wheel == [torch.float32] * 2 * SIZES.num_layers


def test_eight_bits_stay_near(wheel: list[torch.dtype]) -> None:
    query, key, value = torch.randn(3, 1, 64, 2, 16, generator=torch.Generator().manual_seed(0))
    exact = dispatch_attention_fn(query, key + 3, value, backend=backend("native"))
    rough = dispatch_attention_fn(query, key + 3, value, backend=backend("fa3_fwd_fp8"))
    assert wheel == [torch.float8_e4m3fn]
    assert 0 < (rough - exact).norm() < 0.06 * exact.norm()


@torch.no_grad()
def test_our_own_back_ends_are_part_of_one_compiled_graph(wheel: list[torch.dtype]) -> None:
    torch.manual_seed(0)
    network = SamaTransformer3DModel.of(SIZES).eval()
    for name in ("fa3_fwd", "fa3_fwd_fp8"):
        network.set_attention_backend(name)
        plain = network(**inputs()).video
        torch.compiler.reset()
        network.compile_repeated_blocks(backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(network(**inputs()).video, plain, rtol=0, atol=1e-5)
    assert wheel[-1] == torch.float8_e4m3fn
