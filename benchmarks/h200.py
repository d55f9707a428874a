"""SAMA-14B with random weights on one GPU: every case of docs/experiments.md, one small file each.

Called by `benchmarks/transformer.py --h200 OUT`; goes on where it stopped, because GPU time is short. `--rehearse`
plays all of it on the CPU with a network of six narrow blocks, so that nothing fails for a silly reason when it counts.
"""

from __future__ import annotations

import gc
import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from sides import STEPS, ComplexRotation, Inputs, flops, matmul_rate, ours, plain_blocks, run_plainly, timed
from torch import Tensor, nn

from sama_model.backends import FA3, FA3_FP8, backend
from sama_model.config import (
    SEMANTIC_TOKENS,
    TEXT_TOKENS,
    Needs,
    TextEncoderSizes,
    TransformerSizes,
    VaeSizes,
    predicted_peaks,
)
from sama_model.pipeline import SamaPipeline, StepEnd
from sama_model.profiles import EXACT_PROFILES, place
from sama_model.reuse import Reuse
from sama_model.transformer import SamaTransformer3DModel
from sama_model.weights import empty_text_encoder, empty_vae

CUDNN, FLASH_2 = "_native_cudnn", "_native_flash"
BACK_ENDS = ("native", CUDNN, FLASH_2, "flash", FA3, FA3_FP8, "sage")

RUNS = 6
"""Steps that are timed, after one that warms up."""
FEW = 3
"""The same for cases that are there to be compared, not to be extrapolated from."""
PROFILE_BLOCKS, PROFILE_STEPS = 8, 2
"""How much of the network the memory profiles are tried with, so that the host can hold it; each block is whole."""
FLOOR, BAR = 648, 850
"""Seconds of the released recipe at 81 frames: all products at the measured bf16 rate; what must not be exceeded."""


@dataclass(frozen=True)
class Machine:
    """What the cases run on, and how large."""

    device: torch.device
    sizes: TransformerSizes
    text: TextEncoderSizes
    vae: VaeSizes
    picture: tuple[int, int]
    """Width and height."""
    compiler: str
    square: int
    """Side of the product whose rate all others are compared with."""

    def attention(self, name: str) -> str:
        """In rehearsal there are no kernels but torch's own."""
        return name if self.device.type == "cuda" else "native"

    def frames(self, case: Case) -> int:
        """In rehearsal the fewest that a VAE treats like many."""
        return case.frames if self.device.type == "cuda" else 9

    def wall(self, case: Case) -> float:
        """Seconds that measuring a case will take, so that a slice does not begin what it cannot end."""
        if self.device.type == "cpu":
            return 0.0
        laps = case.laps + 1 if case.kind in ("forward", "plain", "official") else STEPS
        return 8 + 1.1 * case.predicted / STEPS * laps + (45 if case.compiled else 0)

    def latents(self, frames: int) -> tuple[int, int, int, int, int]:
        width, height = (side // self.vae.spatial_factor for side in self.picture)
        return 1, self.vae.z_dim, (frames - 1) // 4 + 1, height, width

    def tokens(self, frames: int) -> int:
        """Of the target."""
        _, _, count, height, width = self.latents(frames)
        return count * height * width // 4


H200 = Machine(torch.device("cuda"), TransformerSizes(), TextEncoderSizes(), VaeSizes(), (832, 480), "inductor", 8192)

REHEARSAL = Machine(
    torch.device("cpu"),
    TransformerSizes(2, 16, 64, 6, text_dim=32, freq_dim=32, semantic_dim=24, semantic_hidden=16),
    TextEncoderSizes(vocab=64, dim=32, attention_dim=32, ffn_dim=64, num_heads=2, num_layers=2),
    VaeSizes(base_dim=8),
    (64, 32),
    "aot_eager",
    256,
)

Found = dict[str, float]
"""What a case's file holds beside its name: `seconds`, and what it is made of."""


@dataclass(frozen=True)
class Case:
    """One thing to measure; its file is named by it."""

    name: str
    kind: str
    """A key of `MEASURE`."""
    frames: int = 81
    attention: str = "native"
    compiled: bool = False
    fp8: bool = False
    laps: int = RUNS
    predicted: float = 0.0
    """Seconds that the arithmetic of docs/experiments.md expects."""


CASES: tuple[Case, ...] = (
    *(Case(f"attention-{name}", "attention", attention=name) for name in BACK_ENDS),
    Case("bf16-81-fa3-compiled", "forward", attention=FA3, compiled=True, predicted=782),
    Case("bf16-81-official", "official", attention=FLASH_2, predicted=1330),
    Case("fp8-81-fa3-compiled", "forward", attention=FA3_FP8, compiled=True, fp8=True, predicted=578),
    Case("vae-81", "vae", predicted=2.6),
    Case("text", "text", predicted=1.2),
    Case("profiles", "profiles", predicted=40),
    Case("bf16-49-fa3-compiled", "forward", frames=49, attention=FA3, compiled=True, laps=FEW, predicted=354),
    Case("bf16-49-fa3-eager", "forward", frames=49, attention=FA3, laps=FEW, predicted=400),
    Case("bf16-49-plain-fa3", "plain", frames=49, attention=FA3, laps=FEW, predicted=430),
    Case("bf16-49-official", "official", frames=49, attention=FLASH_2, laps=FEW, predicted=595),
    Case("cold-start", "cold", predicted=15),
    Case("bf16-49-cudnn-compiled", "forward", frames=49, attention=CUDNN, compiled=True, laps=FEW, predicted=360),
    Case(
        "fp8-49-fa3-compiled", "forward", frames=49, attention=FA3_FP8, compiled=True, fp8=True, laps=FEW, predicted=266
    ),
    Case("vae-49", "vae", frames=49, predicted=1.6),
    Case("bf16-81-cudnn-compiled", "forward", attention=CUDNN, compiled=True, predicted=790),
)
"""The most wanted first, because a slice may be all that there is."""


def measure_all(out: Path, minutes: float, *, rehearse: bool) -> bool:
    """Measure what has no file in `out` yet, print the table of all files; whether no case failed."""
    machine = REHEARSAL if rehearse else H200
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    for case in CASES:
        path = out / f"{case.name}.json"
        if path.exists() or time.monotonic() - began + machine.wall(case) > 60 * minutes:
            continue
        print(f"{time.monotonic() - began:6.0f} s  {case.name}", flush=True)
        found = measured(case, machine)
        record = {"case": asdict(case), "device": device_name(machine.device), "torch": torch.__version__, **found}
        path.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return print_cases(out)


def measured(case: Case, machine: Machine) -> dict[str, float | str]:
    """What a case gives, or how it failed: a back end that is not installed must not end the slice."""
    on_gpu = machine.device.type == "cuda"
    try:
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        found: dict[str, float | str] = dict(MEASURE[case.kind](case, machine))
        return found | ({"peak_bytes": float(torch.cuda.max_memory_allocated())} if on_gpu else {})
    except Exception as error:  # noqa: BLE001 - see above
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"[:500]}
    finally:
        torch.compiler.reset()
        gc.collect()  # a compiled network holds itself: the next case's peak would count it
        if on_gpu:
            torch.cuda.empty_cache()


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


# -- cases ------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def forward_case(case: Case, machine: Machine) -> Found:
    """The network as it is, both branches in one forward."""
    network, given = drawn(case, machine)
    network.set_attention_backend(machine.attention(case.attention))
    if case.fp8:
        quantise(network)
    if case.compiled:
        network.compile_repeated_blocks(fullgraph=True, dynamic=False, backend=machine.compiler)
    forward = ours(network, given, Reuse())
    return recipe(case, machine, lambda: forward(2))


@torch.no_grad()
def plain_case(case: Case, machine: Machine) -> Found:
    """diffusers' own blocks, both branches in one forward, nothing kept."""
    network, given = drawn(case, machine)
    blocks = plain_blocks(network, machine.attention(case.attention))
    return recipe(case, machine, lambda: run_plainly(network, blocks, given, 2))


@torch.no_grad()
def official_case(case: Case, machine: Machine) -> Found:
    """The official way of computing it: two forwards a step, complex128 rotation, nothing compiled or kept."""
    network, given = drawn(case, machine)
    attention = machine.attention(case.attention)
    blocks = plain_blocks(network, attention)
    for block in blocks:
        block.attn1.set_processor(ComplexRotation(attention))
    halves = [replace(given, contexts=given.contexts[i : i + 1]) for i in range(2)]
    return recipe(case, machine, lambda: [run_plainly(network, blocks, half, 2) for half in halves])


def recipe(case: Case, machine: Machine, step: Callable[[], object]) -> Found:
    """The released recipe, extrapolated: steady seconds of a step, times 50."""
    laps = steady(step, machine.device, case.laps)
    mean = sum(laps) / len(laps)
    work = flops(machine.sizes, machine.tokens(machine.frames(case)))
    rate = matmul_rate(machine.device, torch.bfloat16, machine.square)
    return {
        "seconds": STEPS * mean,
        "step": mean,
        "fastest": min(laps),
        "slowest": max(laps),
        "tflops": work / mean / 1e12,
        "of_rate": work / mean / rate,
        "rate_tflops": rate / 1e12,
    }


@torch.no_grad()
def attention_case(case: Case, machine: Machine) -> Found:
    """One self-attention over the full sequence, one branch; and how far its first rows are from the formula's."""
    rows = 2 * machine.tokens(machine.frames(case)) + SEMANTIC_TOKENS
    heads, width = machine.sizes.num_heads, machine.sizes.head_dim
    torch.manual_seed(0)
    query, key, value = (
        torch.randn(1, rows, heads, width, device=machine.device, dtype=torch.bfloat16) for _ in range(3)
    )
    chosen = backend(machine.attention(case.attention))
    laps = steady(lambda: dispatch_attention_fn(query, key, value, backend=chosen), machine.device)
    mean = sum(laps) / len(laps)
    said = dispatch_attention_fn(query, key, value, backend=chosen)[:, :64]
    expected = by_formula(query[:, :64], key, value)
    return {
        "seconds": mean,
        "tflops": 4 * rows * rows * heads * width / mean / 1e12,
        "apart": float((said.float() - expected).norm() / expected.norm()),
    }


def by_formula(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k / sqrt(d)) v in float32: (1, n, heads, d), head by head."""
    mixed = []
    for head in range(query.shape[2]):
        q, k, v = (x[0, :, head].float() for x in (query, key, value))
        mixed.append(torch.softmax(q @ k.T / q.shape[-1] ** 0.5, dim=-1) @ v)
    return torch.stack(mixed, dim=1)[None]


@torch.no_grad()
def vae_case(case: Case, machine: Machine) -> Found:
    """Encoding and decoding one clip, untiled."""
    vae = filled(empty_vae(machine.vae), machine)
    width, height = machine.picture
    video = torch.rand(1, 3, machine.frames(case), height, width).to(machine.device, torch.bfloat16) * 2 - 1
    latents = vae.encode(video).latent_dist.mode()
    encode = min(steady(lambda: vae.encode(video), machine.device, 2))
    decode = min(steady(lambda: vae.decode(latents).sample, machine.device, 2))
    return {"seconds": encode + decode, "encode": encode, "decode": decode}


@torch.no_grad()
def text_case(case: Case, machine: Machine) -> Found:
    """Both prompts through the text encoder, one after the other, each padded to 512 tokens."""
    encoder = filled(empty_text_encoder(machine.text), machine)
    ids = torch.randint(1, machine.text.vocab, (1, TEXT_TOKENS), device=machine.device)
    one = min(steady(lambda: encoder(input_ids=ids, attention_mask=torch.ones_like(ids)), machine.device, 2))
    return {"seconds": 2 * one}


@torch.no_grad()
def cold_case(case: Case, machine: Machine) -> Found:
    """The transformer from files that are not in memory to the device. `write` is how long it took to save them."""
    network, _ = drawn(case, machine)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        network.save_pretrained(folder, max_shard_size="4GB")
        del network
        for file in Path(folder).iterdir():
            forget(file)
        written = time.perf_counter() - began
        read = timed_wall(
            lambda: SamaTransformer3DModel.from_pretrained(folder, torch_dtype=torch.bfloat16).to(machine.device)
        )
    return {"seconds": read, "write": written}


@torch.no_grad()
def profiles_case(case: Case, machine: Machine) -> Found:
    """The exact memory profiles, with the first blocks of the network: seconds, peak and prediction of each.

    `apart` is the largest difference of a frame from those of the first profile, in levels of 255. `seconds` is what
    the last one takes longer for a step than the first.
    """
    found: Found = {}
    frames = np.random.default_rng(0).integers(0, 256, (machine.frames(case), *machine.picture[::-1], 3), np.uint8)
    expected = None
    for name in EXACT_PROFILES:
        pipeline = small_pipeline(case, machine)
        place(pipeline, name, machine.device)
        if machine.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        ends: list[float] = []
        edited = pipeline(
            frames,
            prompt_embeds=torch.ones(2, TEXT_TOKENS, machine.sizes.text_dim),
            num_inference_steps=PROFILE_STEPS,
            generator=torch.Generator().manual_seed(0),
            callback_on_step_end=noted(ends, machine.device),
        ).frames
        expected = edited if expected is None else expected
        found |= {
            f"{name}_step": ends[-1] - ends[-2],
            f"{name}_predicted": float(dict(needed(pipeline, machine, case))[name]),
            f"{name}_peak": float(torch.cuda.max_memory_allocated()) if machine.device.type == "cuda" else 0.0,
            f"{name}_apart": float(np.abs(edited.astype(int) - expected.astype(int)).max()),
        }
        del pipeline
    return found | {"seconds": found[f"{EXACT_PROFILES[-1]}_step"] - found[f"{EXACT_PROFILES[0]}_step"]}


def small_pipeline(case: Case, machine: Machine) -> SamaPipeline:
    """The whole VAE and the first blocks of the transformer, on the CPU."""
    cut = replace(machine, sizes=replace(machine.sizes, num_layers=min(machine.sizes.num_layers, PROFILE_BLOCKS)))
    torch.manual_seed(0)
    pipeline = SamaPipeline(vae=filled(empty_vae(machine.vae), machine).cpu(), transformer=drawn(case, cut)[0].cpu())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def noted(ends: list[float], device: torch.device) -> StepEnd:
    """A callback that keeps when each step ended."""

    def note(*_: object) -> dict[str, Tensor]:
        if device.type == "cuda":
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
        return {}

    return note


def needed(pipeline: SamaPipeline, machine: Machine, case: Case) -> tuple[tuple[str, int], ...]:
    """The peaks that are predicted for a pipeline, by profile."""
    transformer, vae = pipeline.transformer, pipeline.vae
    own, other = (sum(p.numel() * p.element_size() for p in part.parameters()) for part in (transformer, vae))
    sizes = replace(machine.sizes, num_layers=len(transformer.blocks))
    needs = Needs(sizes, own, other, machine.vae.base_dim, transformer.dtype.itemsize, vae.dtype.itemsize)
    width, height = machine.picture
    return predicted_peaks(needs, width * height, machine.frames(case))


def forget(file: Path) -> None:
    """Out of the page cache."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed_wall(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


MEASURE: dict[str, Callable[[Case, Machine], Found]] = {
    "forward": forward_case,
    "plain": plain_case,
    "official": official_case,
    "attention": attention_case,
    "vae": vae_case,
    "text": text_case,
    "cold": cold_case,
    "profiles": profiles_case,
}

# -- networks ---------------------------------------------------------------------------------------------------------


def drawn(case: Case, machine: Machine) -> tuple[SamaTransformer3DModel, Inputs]:
    """The transformer with random weights, made on the device, and the inputs of one step."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with machine.device:
            network = SamaTransformer3DModel.of(machine.sizes).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(torch.float32)
    return network, Inputs.drawn(machine.latents(machine.frames(case)), machine.sizes, machine.device, torch.bfloat16)


def filled(model: nn.Module, machine: Machine) -> nn.Module:
    """A network of the meta device with small random numbers, on the machine's device."""
    model = model.to(torch.bfloat16).to_empty(device=machine.device).eval()
    for parameter in model.parameters():
        parameter.normal_(std=0.02)
    return model


class Fp8Linear(nn.Module):
    """A linear layer whose product is in eight bits: a scale a row of the weights (once) and of the input (each time).

    The fast form; the profile `fp8` only stores in eight bits. On a CPU, which is for rehearsal, products are float32.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, scale = eight_bits(layer.weight)
        self.scale = scale.T.contiguous()
        self.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        rows, scale = eight_bits(x.flatten(0, -2))
        if x.device.type == "cuda":
            out = torch._scaled_mm(
                rows, self.weight.T, scale, self.scale, bias=self.bias, out_dtype=x.dtype, use_fast_accum=True
            )
        else:
            out = (rows.float() @ self.weight.float().T * scale * self.scale + self.bias).to(x.dtype)
        return out.unflatten(0, x.shape[:-1])


def eight_bits(x: Tensor) -> tuple[Tensor, Tensor]:
    """(n, d) in float8, and what to multiply each row with, (n, 1) float32."""
    scale = x.abs().amax(dim=1, keepdim=True).float().clamp(min=1e-6) / torch.finfo(torch.float8_e4m3fn).max
    return (x / scale).to(torch.float8_e4m3fn), scale


def quantise(network: SamaTransformer3DModel) -> None:
    """The feed-forward layers, but those of the first two and last three blocks."""
    for block in network.blocks[2:-3]:
        block.ffn.net[0].proj = Fp8Linear(block.ffn.net[0].proj)
        block.ffn.net[2] = Fp8Linear(block.ffn.net[2])


def steady(work: Callable[[], object], device: torch.device, runs: int = RUNS) -> list[float]:
    """Seconds of each of `runs`, after one that warms up (and compiles)."""
    work()
    return [timed(work, device) for _ in range(runs)]


# -- printing ---------------------------------------------------------------------------------------------------------


def print_cases(out: Path) -> bool:
    """The predicted beside the measured, and the sum of a clip; whether no case failed."""
    found = {
        case.name: json.loads(path.read_text(encoding="utf-8"))
        for case in CASES
        if (path := out / f"{case.name}.json").exists()
    }
    print(f"\n{'case':28}{'predicted s':>12}{'measured s':>12}{'TFLOP/s':>9}{'of rate':>8}{'peak GiB':>9}")
    for case in CASES:
        given = found.get(case.name, {})
        seconds = f"{given['seconds']:.4g}" if "seconds" in given else "-"
        tflops = f"{given['tflops']:.0f}" if "tflops" in given else ""
        share = f"{given['of_rate']:.0%}" if "of_rate" in given else ""
        peak = f"{given['peak_bytes'] / 2**30:.1f}" if "peak_bytes" in given else ""
        note = f"  {given['error'][:80]}" if "error" in given else ""
        print(f"{case.name:28}{case.predicted or '':>12}{seconds:>12}{tflops:>9}{share:>8}{peak:>9}{note}")
    print_clip(found)
    return not any("error" in given for given in found.values())


def print_clip(found: dict[str, dict[str, float]]) -> None:
    """The released recipe at 81 frames, whole: extrapolated from steady steps."""
    seconds = {name: given["seconds"] for name, given in found.items() if "seconds" in given}
    around = seconds.get("vae-81", 0.0) + seconds.get("text", 0.0)
    whole = {name: value + around for name, value in seconds.items() if "-81-" in name}
    if not whole:
        return
    print(f"\none clip of 81 frames, {STEPS} steps of it extrapolated, encoding, decoding and text measured:")
    for name, value in sorted(whole.items(), key=lambda item: item[1]):
        ratio = f"{whole['bf16-81-official'] / value:6.2f}x official" if "bf16-81-official" in whole else ""
        print(f"  {name:28}{value:8.4g} s  {ratio}")
    print(f"  floor {FLOOR} s, bar {BAR} s (bf16)")
