"""How fast the transformer is, against the same network run plainly through diffusers' own Wan blocks, in one run.

    python benchmarks/transformer.py                     12 layers, 768 wide, about 4,000 tokens, on the CPU
    python benchmarks/transformer.py --only source text  single savings beside all of them
    python benchmarks/transformer.py --h200 OUT          SAMA-14B with random weights: every case, one small file each
    python benchmarks/transformer.py --h200 OUT --rehearse    the same cases with a tiny network, on the CPU

On a CPU processor seconds of one thread are compared, because a machine may be shared; what is compared takes turns,
and a ratio is the median over the turns of the ratio to the plain run of the same turn. At each turn all are held to
say the same. The exit code is 1 if a bar is missed (or a case of `--h200` failed).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch
from sides import Inputs, apart, flops, matmul_rate, ours, plain_blocks, run_plainly

from sama_model.config import TransformerSizes
from sama_model.reuse import EXACT, NOTHING, Reuse
from sama_model.tokens import Joint
from sama_model.transformer import SamaTransformer3DModel

CPU = torch.device("cpu")
TOLERANCE = 1e-4

PLAIN, REUSED, COMPILED = "plain diffusers blocks", "reuse", "reuse, compiled"
BARS = {REUSED: 1.07, COMPILED: 1.2}
"""Times the plain run's speed that must not be fallen short of."""


@dataclass(frozen=True)
class Configuration:
    """What is built."""

    sizes: TransformerSizes
    grid: tuple[int, int, int]
    """Latent frames, height and width."""

    @property
    def tokens(self) -> int:
        """Of the target."""
        return self.grid[0] * self.grid[1] * self.grid[2] // 4


@torch.no_grad()
def on_cpu(built: Configuration, only: list[str], turns: int, *, compiled: bool) -> bool:
    """Print seconds, TFLOP/s, ratios and where the time goes; whether the bars hold."""
    torch.set_num_threads(1)
    runs = sides(built, only, compiled=compiled)
    for run in runs.values():
        run.warm_up()
    laps: dict[str, list[float]] = defaultdict(list)
    for step in range(1, turns + 1):
        take_turn(runs, step, laps)
    ratios = {name: median(p / own for p, own in zip(laps[PLAIN], mine, strict=True)) for name, mine in laps.items()}
    print_table(built, {name: median(mine) for name, mine in laps.items()}, ratios)
    missed = [name for name, bar in BARS.items() if name in ratios and ratios[name] < bar]
    for name in missed:
        print(f"MISSED: {name} is {ratios[name]:.3f}x, the bar is {BARS[name]}x")
    print_shares({name: runs[name] for name in (PLAIN, REUSED)})
    return not missed


def take_turn(runs: dict[str, Side], step: int, laps: dict[str, list[float]]) -> None:
    """Each side once, and held to what the plain one says."""
    expected: Joint | None = None
    for name, run in runs.items():
        began = time.process_time()
        said = run.forward(step)
        laps[name].append(time.process_time() - began)
        expected = said if expected is None else expected
        if (error := apart(said, expected)) > TOLERANCE:
            raise SystemExit(f"{name} says something else: {error:.1e} apart")
        print(f"turn {step}: {name:28}{laps[name][-1]:8.2f} s{laps[PLAIN][-1] / laps[name][-1]:8.3f}x", flush=True)


@dataclass(frozen=True)
class Side:
    """One of those that are compared."""

    forward: Callable[[int], Joint]
    kept: bool = True
    """Whether it computes something at its first step that it keeps."""

    def warm_up(self) -> None:
        if self.kept:
            self.forward(0)


def sides(built: Configuration, only: list[str], *, compiled: bool) -> dict[str, Side]:
    """What is compared, by name, the plain one first: the same weights everywhere."""
    torch.manual_seed(0)
    network = SamaTransformer3DModel.of(built.sizes).eval()
    given = Inputs.drawn((1, built.sizes.latent_channels, *built.grid), built.sizes, CPU, torch.float32)
    runs = {PLAIN: Side(partial(run_plainly, network, plain_blocks(network), given), kept=False)}
    for name in only:
        reuse = NOTHING if name == "nothing" else replace(NOTHING, **{name: True})
        runs[f"only {name}"] = Side(ours(network, given, reuse))
    runs[REUSED] = Side(ours(network, given, Reuse()))
    if compiled:
        fused = SamaTransformer3DModel.of(built.sizes).eval()
        fused.load_state_dict(network.state_dict(), assign=True)
        fused.compile_repeated_blocks(fullgraph=True, dynamic=False)
        runs[COMPILED] = Side(ours(fused, given, Reuse()))
    return runs


def print_table(built: Configuration, seconds: dict[str, float], ratios: dict[str, float]) -> None:
    """TFLOP/s count the plain forward's arithmetic, so that what is left out shows as speed."""
    work = flops(built.sizes, built.tokens)
    rate = matmul_rate(CPU, torch.float32, 2048)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"torch {torch.__version__}, one thread of {os.cpu_count()}, load {load}")
    print(f"matrix products: {rate / 1e12:.3f} TFLOP/s; one plain forward of two branches: {work / 1e12:.2f} TFLOP")
    print(f"{'':28}{'seconds':>10}{'TFLOP/s':>10}{'of rate':>9}{'ratio':>8}")
    for name, value in seconds.items():
        share = work / value / rate
        print(f"{name:28}{value:10.2f}{work / value / 1e12:10.3f}{share:9.0%}{ratios[name]:8.3f}")


# -- where the time goes ----------------------------------------------------------------------------------------------

KINDS = {
    "matrix products": ("addmm", "mm", "bmm", "linear", "convolution"),
    "attention": ("attention",),
    "norms": ("norm", "rsqrt", "mean", "pow"),
    "copies": ("copy", "cat", "stack", "clone", "contiguous", "index"),
    "activation": ("gelu", "silu"),
}
"""By a part of the operation's name, the first that fits; what is none of them is arithmetic on elements."""


def print_shares(runs: dict[str, Side]) -> None:
    """Seconds of one forward by kind of operation."""
    found = {name: shares_of(run) for name, run in runs.items()}
    print(f"\n{'where the time goes, s':28}" + "".join(f"{name:>26}" for name in found))
    for kind in (*KINDS, "elements"):
        print(f"{kind:28}" + "".join(f"{spent[kind]:26.2f}" for spent in found.values()))


def shares_of(run: Side) -> dict[str, float]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as watched:
        run.forward(1)
    spent: dict[str, float] = defaultdict(float)
    for event in watched.key_averages():
        spent[kind_of(event.key)] += event.self_cpu_time_total / 1e6
    return spent


def kind_of(operation: str) -> str:
    return next((kind for kind, parts in KINDS.items() if any(part in operation for part in parts)), "elements")


# -- the call ---------------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="*", default=[], choices=["nothing", *EXACT], help="single savings to time as well"
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--ffn", type=int, default=3072)
    parser.add_argument("--grid", type=int, nargs=3, default=(5, 40, 40), help="latents: frames, height, width")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--h200", type=Path, metavar="OUT", help="measure SAMA-14B on a GPU into this folder")
    parser.add_argument("--minutes", type=float, default=8.0, help="of --h200: no case begins that would end later")
    parser.add_argument("--rehearse", action="store_true", help="of --h200: a tiny network on the CPU")
    given = parser.parse_args()
    if given.h200 is not None:
        from h200 import measure_all  # brings transformers

        return 0 if measure_all(given.h200, given.minutes, rehearse=given.rehearse) else 1
    sizes = TransformerSizes(given.heads, given.head_dim, given.ffn, given.layers)
    built = Configuration(sizes, tuple(given.grid))
    return 0 if on_cpu(built, given.only, given.turns, compiled=not given.no_compile) else 1


if __name__ == "__main__":
    sys.exit(main())
