"""How fast the drawn world is drawn, and what it looks like.

    python benchmarks/world.py                       frames a second, source and target frames counted alike
    python benchmarks/world.py --sheet SHEET.png     a picture of samples: source row, target row, instruction

Every process draws samples of its own, with one thread, for the time asked.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sama_model.training.world.rules import WORLD
from sama_model.training.world.samples import WorldSample, drawn, planned
from sama_model.training.world.splits import Split, kinds

SHOWN = (0, 8, 16)
"""Frames of a clip on the sheet."""
ZOOM = 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--sheet", type=Path, help="where to write a picture of samples instead")
    parser.add_argument("--split", choices=[split.name for split in Split], default="TRAIN")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.sheet:
        cv2.imwrite(str(given.sheet), sheet(given.seed, Split[given.split])[..., ::-1])
        return 0
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        rates = pool.starmap(rate, [(seed, given.seconds) for seed in range(given.processes)])
    print(f"{WORLD.width}x{WORLD.height}, {WORLD.frames} frames, rules {WORLD.digest()[:12]}")
    print(f"{given.processes} processes: {' + '.join(f'{each:.0f}' for each in rates)} = {sum(rates):.0f} frames/s")
    return 0


def rate(seed: int, seconds: float) -> float:
    """Frames a second of one process, textures made before."""
    cv2.setNumThreads(1)
    for index in range(200):
        drawn(planned(seed, index))
    start, index = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        drawn(planned(seed, index))
        index += 1
    return index * 2 * WORLD.frames / (time.perf_counter() - start)


def sheet(seed: int, split: Split) -> npt.NDArray[np.uint8]:
    """Two samples of each kind side by side."""
    columns = []
    for first in (0, 1):
        cells = [cell(drawn(planned(seed, first, split, kind))) for kind in kinds(WORLD, split)]
        columns.append(np.concatenate(cells))
    return np.concatenate(columns, axis=1)


def cell(sample: WorldSample) -> npt.NDArray[np.uint8]:
    """Source row, target row with the mask's middle frame beside, instruction."""
    rows = [np.concatenate([clip[i] for i in SHOWN], axis=1) for clip in (sample.source, sample.target)]
    mask = np.repeat(sample.mask[WORLD.frames // 2][..., None], 3, axis=-1)
    rows = [np.concatenate([rows[0], np.zeros_like(mask)], axis=1), np.concatenate([rows[1], mask], axis=1)]
    picture = np.concatenate(rows).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    strip = np.full((34, picture.shape[1], 3), 255, dtype=np.uint8)
    lines = (sample.plan.instruction, sample.plan.source_caption)
    for row, line in enumerate(lines):
        cv2.putText(strip, line[:130], (4, 13 + 15 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([picture, strip])


if __name__ == "__main__":
    raise SystemExit(main())
