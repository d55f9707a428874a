"""How fast the transformer is, against the same network run plainly through diffusers' own Wan blocks, in one run.

    python benchmarks/transformer.py                     12 layers, 768 wide, about 4,000 tokens, on the CPU
    python benchmarks/transformer.py --only source text  single savings beside all of them
    python benchmarks/transformer.py --h200 OUT          SAMA-14B with random weights: every case, one small file each

On a CPU processor seconds of one thread are compared, because a machine may be shared; runs of what is compared take
turns and the fastest of each counts. Before anything is timed, all are held to say the same. `--h200` goes on where it
stopped, begins no case after `--minutes`, and prints the table of all files; a case that fails is written down too.
Nothing of `--h200` has run on a GPU yet.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.transformers.transformer_wan import WanTransformerBlock
from torch import Tensor

from sama_model.backends import backend, set_backend
from sama_model.config import SEMANTIC_TOKENS, TEXT_TOKENS, TransformerSizes, VaeSizes
from sama_model.encoders import decode_latents, encode_video
from sama_model.reuse import EXACT, NOTHING, Memory, Reuse
from sama_model.tokens import Joint, TokenLayout, joint_rotary, unpatchify
from sama_model.transformer import SamaTransformer3DModel
from sama_model.weights import empty_vae

CPU_SIZES = TransformerSizes(num_heads=12, head_dim=64, ffn_dim=3072, num_layers=12)
CPU_LATENTS = (1, 16, 5, 40, 40)
"""2 x 2,000 tokens and the 65."""
TOLERANCE = 1e-4
REUSE_FLOOR, FUSED_FLOOR = 1.07, 1.2
"""Times the plain run's speed that must not be fallen short of, by reuse alone and with compiled blocks."""

STEPS = 50
"""Of the released recipe; both branches are one forward here."""

# -- what is compared -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Inputs:
    """One step of a clip with both guidance branches."""

    video: Tensor
    source: Tensor
    semantic: Tensor
    timesteps: Tensor
    contexts: Tensor

    @classmethod
    def drawn(
        cls, latents: tuple[int, ...], sizes: TransformerSizes, device: torch.device, dtype: torch.dtype
    ) -> Inputs:
        generator = torch.Generator().manual_seed(0)
        draw = partial(torch.randn, generator=generator)
        shapes = (latents, latents, (1, SEMANTIC_TOKENS, sizes.semantic_dim))
        video, source, semantic = (draw(shape).to(device, dtype) for shape in shapes)
        contexts = draw(2, TEXT_TOKENS, sizes.text_dim).to(device, dtype)
        return cls(video, source, semantic, torch.linspace(1000, 20, STEPS), contexts)


def plain_blocks(network: SamaTransformer3DModel, sizes: TransformerSizes) -> list[WanTransformerBlock]:
    """diffusers' own blocks with the network's weights (the same tensors)."""
    blocks = []
    for ours in network.blocks:
        with torch.device("meta"):
            block = WanTransformerBlock(sizes.dim, sizes.ffn_dim, sizes.num_heads, cross_attn_norm=True, eps=sizes.eps)
        block.load_state_dict(ours.state_dict(), assign=True)
        blocks.append(block.eval())
    return blocks


def run_plainly(network: SamaTransformer3DModel, blocks: list[WanTransformerBlock], given: Inputs, step: int) -> Joint:
    """The same computation without reuse: a batch of two from the start, everything anew, all rows to the end."""
    video, source, semantic = (x.expand(2, *x.shape[1:]) for x in (given.video, given.source, given.semantic))
    target, condition = network.patches(video), network.patches(source)
    tokens = network.siglip_feat_mlp(semantic)
    layout = TokenLayout(condition.shape[1], tokens.shape[1], target.shape[1])
    kinds = torch.tensor([0, 1, 2], device=video.device).repeat_interleave(
        torch.tensor([layout.source, layout.semantic, layout.target], device=video.device)
    )
    x = torch.cat([condition, tokens, target], dim=1) + network.segment_embedding(kinds)
    rotary = joint_rotary(network.rope(video), layout.semantic)
    timestep = given.timesteps[step].to(video.device).expand(2)
    temb, modulation, context, _ = network.condition_embedder(timestep, given.contexts)
    for block in blocks:
        x = block(x, context, modulation.unflatten(1, (6, -1)), rotary)
    shift, scale = (network.scale_shift_table + temb[:, None]).chunk(2, dim=1)
    velocity = network.proj_out((network.norm_out(x.float()) * (1 + scale) + shift).type_as(x))
    grid = network.patch_grid(given.video, given.source)
    return Joint(
        unpatchify(velocity[:, layout.target_rows], grid, network.config.patch_size),
        network.semantic_head(x[:, layout.semantic_rows]),
    )


def ours(network: SamaTransformer3DModel, given: Inputs, reuse: Reuse) -> Callable[[int], Joint]:
    """The network with a memory that lives as long as the runs, as it does over the steps of a clip."""
    memory = Memory(reuse, given.timesteps)

    def forward(step: int) -> Joint:
        timestep = given.timesteps[step : step + 1]
        return network(given.video, given.source, given.semantic, timestep, given.contexts, memory)

    return forward


# -- arithmetic -------------------------------------------------------------------------------------------------------


def flops(sizes: TransformerSizes, target: int, branches: int = 2) -> float:
    """Of one plain forward: 2 a multiplication, matrix products only (performance: linear and attention)."""
    d, rows = sizes.dim, 2 * target + SEMANTIC_TOKENS
    linear = (8 + 4) * rows * d * d + 4 * rows * d * sizes.ffn_dim + 4 * TEXT_TOKENS * d * d
    attention = 4 * rows * rows * d + 4 * rows * TEXT_TOKENS * d
    return float(branches * sizes.num_layers * (linear + attention))


def matmul_rate(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """FLOP/s of a square product, the fastest of five."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / min(timed(lambda: a @ b, device) for _ in range(5))


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds: of one processor on a CPU, of the clock on an accelerator."""
    if device.type == "cpu":
        began = time.process_time()
        work()
        return time.process_time() - began
    torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - began


def apart(a: Joint, b: Joint) -> float:
    """Relative difference of the velocities."""
    return float((a.video.float() - b.video.float()).norm() / b.video.float().norm())


# -- on a CPU ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def on_cpu(only: list[str], repeat: int, *, compiled: bool, profile: bool) -> bool:
    """Print seconds, TFLOP/s and ratios; whether both floors hold."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device("cpu")
    network = SamaTransformer3DModel.of(CPU_SIZES).eval()
    given = Inputs.drawn(CPU_LATENTS, CPU_SIZES, device, torch.float32)
    blocks = plain_blocks(network, CPU_SIZES)
    plain = partial(run_plainly, network, blocks, given)
    runs: dict[str, Callable[[int], Joint]] = {"plain diffusers blocks": plain}
    for name in only:
        runs[f"only {name}"] = ours(network, given, replace(NOTHING, **{name: True}))
    runs["own blocks, no reuse"] = ours(network, given, NOTHING)
    runs["reuse"] = ours(network, given, Reuse())
    if compiled:
        fused = SamaTransformer3DModel.of(CPU_SIZES).eval()
        fused.load_state_dict(network.state_dict())
        fused.compile_repeated_blocks(fullgraph=True, dynamic=False)
        runs["reuse, compiled"] = ours(fused, given, Reuse())
    expected = plain(0)
    for name, run in runs.items():
        if (error := apart(run(0), expected)) > TOLERANCE:
            raise SystemExit(f"{name} says something else: {error:.1e} apart")
    seconds = dict.fromkeys(runs, float("inf"))
    for step in range(1, repeat + 1):
        for name, run in runs.items():
            seconds[name] = min(seconds[name], timed(lambda run=run, step=step: run(step), device))
    target = expected.video[0, 0].numel() // 4
    print_table(seconds, flops(CPU_SIZES, target), matmul_rate(device, torch.float32, 2048), "plain diffusers blocks")
    if profile:
        print_profile(runs["reuse"])
    base = seconds["plain diffusers blocks"]
    holds = base / seconds["reuse"] >= REUSE_FLOOR
    return holds and (not compiled or base / seconds["reuse, compiled"] >= FUSED_FLOOR)


def print_table(seconds: dict[str, float], work: float, rate: float, peer: str) -> None:
    """TFLOP/s count the plain forward's arithmetic, so that what is left out shows as speed."""
    print(f"matrix products: {rate / 1e12:.3f} TFLOP/s; one plain forward of two branches: {work / 1e12:.2f} TFLOP")
    print(f"{'':28}{'seconds':>10}{'TFLOP/s':>10}{'of rate':>9}{'ratio':>8}")
    for name, value in seconds.items():
        share = work / value / rate
        print(f"{name:28}{value:10.2f}{work / value / 1e12:10.3f}{share:9.0%}{seconds[peer] / value:8.3f}")


def print_profile(run: Callable[[int], Joint]) -> None:
    """Where the time of one forward goes, by operation."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as watched:
        run(1)
    print(watched.key_averages().table(sort_by="self_cpu_time_total", row_limit=12, max_name_column_width=44))


# -- on an H200 -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One thing to measure; its file is named by it."""

    name: str
    kind: str
    """`forward`, `official`, `attention` or `vae`."""
    frames: int = 81
    attention: str = "native"
    compiled: bool = False
    fp8: bool = False
    predicted: float = 0.0
    """Seconds that the arithmetic of docs/experiments.md expects."""


BACK_ENDS = ("native", "_native_cudnn", "_native_flash", "flash", "fa3_fwd", "fa3_fwd_fp8", "sage")

CASES: tuple[Case, ...] = (
    *(Case(f"attention-{name}", "attention", attention=name) for name in BACK_ENDS),
    Case("bf16-81-fa3-compiled", "forward", attention="fa3_fwd", compiled=True, predicted=782),
    Case("bf16-81-official", "official", attention="_native_flash", predicted=1330),
    Case("bf16-81-cudnn-compiled", "forward", attention="_native_cudnn", compiled=True, predicted=790),
    Case("fp8-81-fa3-compiled", "forward", attention="fa3_fwd_fp8", compiled=True, fp8=True, predicted=578),
    Case("bf16-81-cudnn-eager", "forward", attention="_native_cudnn", predicted=880),
    Case("bf16-49-fa3-compiled", "forward", frames=49, attention="fa3_fwd", compiled=True, predicted=354),
    Case("bf16-49-cudnn-compiled", "forward", frames=49, attention="_native_cudnn", compiled=True, predicted=360),
    Case("vae-81", "vae", predicted=2.6),
    Case("vae-49", "vae", frames=49, predicted=1.6),
)
"""The most wanted first, because a slice may be all that there is."""


def on_h200(out: Path, minutes: float) -> None:
    """Measure what has no file in `out` yet, then print the table of all files."""
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    for case in CASES:
        path = out / f"{case.name}.json"
        if path.exists() or time.monotonic() - began > 60 * minutes:
            continue
        try:
            found = {"seconds": MEASURE[case.kind](case)}
        except Exception as error:  # noqa: BLE001 - a back end that is not installed must not end the slice
            found = {"error": f"{type(error).__name__}: {error}"[:500]}
            traceback.print_exc()
        path.write_text(json.dumps({"case": asdict(case), **found}, indent=1), encoding="utf-8")
        torch.cuda.empty_cache()
    print_cases(out)


@torch.no_grad()
def forward_seconds(case: Case) -> float:
    """Of the whole released recipe, extrapolated: steady seconds a step over six steps after two, times 50."""
    network, given = on_device(case)
    set_backend(network, case.attention)
    if case.fp8:
        quantise(network)
    if case.compiled:
        network.compile_repeated_blocks(fullgraph=True, dynamic=False)
    forward = ours(network, given, Reuse())
    return STEPS * steady(lambda: forward(2), given.video.device)


@torch.no_grad()
def official_seconds(case: Case) -> float:
    """The official way of computing it: two forwards a step, complex128 rotation, nothing compiled or kept."""
    network, given = on_device(case)
    blocks = plain_blocks(network, TransformerSizes())
    for block in blocks:
        block.attn1.set_processor(ComplexRotation(case.attention))
    halves = [replace(given, contexts=given.contexts[i : i + 1]) for i in range(2)]

    def step() -> None:
        for half in halves:
            run_one_branch(network, blocks, half)

    return STEPS * steady(step, given.video.device)


def run_one_branch(network: SamaTransformer3DModel, blocks: list[WanTransformerBlock], given: Inputs) -> Joint:
    """`run_plainly` for a batch of one."""
    ends = network.patches(given.source), network.patches(given.video)
    x = torch.cat([ends[0], network.siglip_feat_mlp(given.semantic), ends[1]], dim=1)
    rotary = joint_rotary(network.rope(given.video), SEMANTIC_TOKENS)
    temb, modulation, context, _ = network.condition_embedder(given.timesteps[2:3].to(x.device), given.contexts)
    for block in blocks:
        x = block(x, context, modulation.unflatten(1, (6, -1)), rotary)
    shift, scale = (network.scale_shift_table + temb[:, None]).chunk(2, dim=1)
    velocity = network.proj_out((network.norm_out(x.float()) * (1 + scale) + shift).type_as(x))
    count = given.video[0, 0].numel() // 4
    grid = network.patch_grid(given.video, given.source)
    return Joint(unpatchify(velocity[:, -count:], grid, network.config.patch_size), network.semantic_head(x[:, :1]))


class ComplexRotation:
    """Self-attention that rotates as the official code does: pairs as complex numbers of double precision."""

    _parallel_config = None

    def __init__(self, name: str) -> None:
        self._attention_backend = backend(name)

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, rotary_emb=None):  # type: ignore[no-untyped-def]
        cos, sin = rotary_emb
        angles = torch.complex(cos[..., 0::2].double(), sin[..., 1::2].double())
        query, key = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(hidden_states))
        query, key, value = (x.unflatten(2, (attn.heads, -1)) for x in (query, key, attn.to_v(hidden_states)))
        query, key = (
            torch.view_as_real(torch.view_as_complex(x.double().unflatten(-1, (-1, 2))) * angles).flatten(-2).type_as(x)
            for x in (query, key)
        )
        mixed = dispatch_attention_fn(query, key, value, backend=self._attention_backend)
        return attn.to_out[0](mixed.flatten(2))


def attention_seconds(case: Case) -> float:
    """Of one self-attention of the full sequence, one branch."""
    tokens = 2 * latent_frames(case.frames) * 1560 + SEMANTIC_TOKENS
    query, key, value = (torch.randn(1, tokens, 40, 128, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    chosen = backend(case.attention)
    return steady(lambda: dispatch_attention_fn(query, key, value, backend=chosen), query.device)


@torch.no_grad()
def vae_seconds(case: Case) -> float:
    """Encoding and decoding one clip of 832x480, untiled, random weights."""
    vae = empty_vae(VaeSizes()).to_empty(device="cuda").to(torch.bfloat16).eval()
    for parameter in vae.parameters():
        parameter.normal_(std=0.02)
    video = torch.rand(1, 3, case.frames, 480, 832) * 2 - 1
    latents = encode_video(vae, video)
    encode = steady(lambda: encode_video(vae, video), vae.device, runs=2)
    return encode + steady(lambda: decode_latents(vae, latents), vae.device, runs=2)


MEASURE: dict[str, Callable[[Case], float]] = {
    "forward": forward_seconds,
    "official": official_seconds,
    "attention": attention_seconds,
    "vae": vae_seconds,
}


def on_device(case: Case) -> tuple[SamaTransformer3DModel, Inputs]:
    """SAMA-14B with random weights, made on the GPU, and the inputs of one step."""
    torch.manual_seed(0)
    device = torch.device("cuda")
    torch.set_default_dtype(torch.bfloat16)
    with device:
        network = SamaTransformer3DModel.of(TransformerSizes()).eval().requires_grad_(False)
    torch.set_default_dtype(torch.float32)
    latents = (1, 16, latent_frames(case.frames), 60, 104)
    return network, Inputs.drawn(latents, TransformerSizes(), device, torch.bfloat16)


def latent_frames(frames: int) -> int:
    return (frames - 1) // 4 + 1


def quantise(network: SamaTransformer3DModel) -> None:
    """Feed-forward products in eight bits, activations too: the fast form, where the profile `fp8` only stores."""
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, quantize_

    for block in network.blocks[2:-3]:
        quantize_(block.ffn, Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()))


def steady(work: Callable[[], object], device: torch.device, runs: int = 6) -> float:
    """Mean seconds of `runs` after two."""
    for _ in range(2):
        work()
    return sum(timed(work, device) for _ in range(runs)) / runs


def print_cases(out: Path) -> None:
    """The predicted beside the measured; seconds of a whole clip are extrapolated from steady steps."""
    print(f"{'case':28}{'predicted s':>12}{'measured s':>12}")
    for case in CASES:
        path = out / f"{case.name}.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        shown = f"{found['seconds']:.4g}" if "seconds" in found else found.get("error", "not yet")[:60]
        print(f"{case.name:28}{case.predicted or '':>12}{shown:>12}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], choices=EXACT, help="single savings to time as well")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--profile", action="store_true", help="say where the time of a forward goes")
    parser.add_argument("--h200", type=Path, metavar="OUT", help="measure SAMA-14B on a GPU into this folder")
    parser.add_argument("--minutes", type=float, default=7.0, help="of --h200, after which no case begins")
    given = parser.parse_args()
    if given.h200 is not None:
        on_h200(given.h200, given.minutes)
        return 0
    return 0 if on_cpu(given.only, given.repeat, compiled=not given.no_compile, profile=given.profile) else 1


if __name__ == "__main__":
    sys.exit(main())
