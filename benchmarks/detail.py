"""What the ways of bringing detail back are worth on real edits, by SAMA-14B, whose full-size result is known.

    python benchmarks/detail.py [--pairs ../shared/clips/sama_pairs] [--frames 17] [--pictures FOLDER]

Source and result are halved as if that were the model's size; each `detail` then makes a full-size picture of them.
'Outside the edit' is fixed here, from the full-size pair alone: pixels from which, within `FAR` pixels and in this and
the neighbouring frames, the smoothed difference of source and result nowhere exceeds `CHANGED` levels. PSNR is over R,
G and B of 8 bits, in dB, of all frames together. `--pictures` writes a frame of each, to be looked at for halos and
ghosts.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from pairs import PAIRS, Frames, Piece, frames_of, request_of, stitched

NAMES = ("remove", "replace", "style")
DETAILS = ("full", "tone", "upscale")
CHANGED = 20.0
"""Levels of 8 bits, after smoothing by `SMOOTH`: above what the model does to pixels that it was not to change."""
SMOOTH = 4.0
FAR = 16


def outside(source: Frames, result: Frames) -> npt.NDArray[np.bool_]:
    """(T, H, W): where nothing was edited, by the full-size pair alone."""
    touched = [_touched(before, after) for before, after in zip(source, result, strict=True)]
    near = [np.any(touched[max(0, n - 1) : n + 2], axis=0) for n in range(len(touched))]
    return ~np.stack(near)


def _touched(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    change = cv2.absdiff(before, after).max(axis=-1).astype(np.float32)
    smooth = cv2.GaussianBlur(change, (0, 0), SMOOTH)
    return np.asarray(cv2.dilate((smooth > CHANGED).astype(np.uint8), np.ones((2 * FAR + 1,) * 2, np.uint8)) > 0)


def lanczos(result: Frames) -> Frames:
    """The result halved and enlarged again, in RGB: what there is without a source."""
    height, width = result.shape[1:3]
    small = [cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA) for frame in result]
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_LANCZOS4) for frame in small])


def psnr(one: Frames, other: Frames, where: npt.NDArray[np.bool_] | None = None) -> float:
    """In dB; infinite where they are equal."""
    squares = (one.astype(np.float32) - other) ** 2
    error = float((squares if where is None else squares[where]).mean())
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def compare(name: str, pairs: Path, count: int, folder: Path, pictures: Path | None) -> None:
    """Print one pair's table."""
    source_path, edit_path = pairs / f"{name}_source.mp4", pairs / f"{name}_sama.mp4"
    source, result = frames_of(source_path)[:count], frames_of(edit_path)[:count]
    size = (source.shape[2] // 2, source.shape[1] // 2)
    where = outside(source, result)
    request = request_of(source_path, [Piece(edit_path, 0, len(source))], size, folder, detail="full")
    made = {"lanczos": lanczos(result)}
    made |= {detail: stitched(replace(request, detail=detail)) for detail in DETAILS}
    print(f"\n{name}: {len(source)} frames, {where.mean():.0%} outside the edit")
    print(f"{'':<10}{'against SAMA, whole':>22}{'outside, against source':>26}")
    for way, frames in made.items():
        outer = f"{psnr(frames, source, where):.2f}" if where.any() else "-"
        print(f"{way:<10}{psnr(frames, result):>22.2f}{outer:>26}")
    if pictures is not None:
        _show(name, pictures, {"source": source, "sama": result, **made})


def _show(name: str, folder: Path, made: dict[str, Frames]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for way, frames in made.items():
        cv2.imwrite(str(folder / f"{name}-{way}.png"), frames[len(frames) // 2][..., ::-1])


def main() -> None:
    """Print a table for each pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=PAIRS)
    parser.add_argument("--frames", type=int, default=17, help="of each clip, from its beginning")
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            compare(name, arguments.pairs, arguments.frames, Path(folder) / name, arguments.pictures)


if __name__ == "__main__":
    main()
