"""How much a seam shows between two real edits of one shot, by SAMA-14B, cut together in several ways.

    python benchmarks/seams.py [--pairs ../shared/clips/sama_pairs]

The first run edited 49 frames, the second 81. Chunk one is the first run up to frame 33, chunk two the second run from
frame 16: 17 frames overlap, as with SAMA-14B's card. Everything goes through split and stitch at the clips' own size. A
measure is a ratio to steps away from the seam. Below it, the same for a shot that the random weights `tiny` edit: its
chunks one by one, and as one (`seams=joint`).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from pairs import PAIRS, Piece, request_of, stitched

import edits.stitch
from edits.media.chunkfile import read_chunk, write_chunk
from edits.media.records import StitchRequest
from sama_model.cards import card
from sama_model.config import Options, Recipe
from sama_model.editors.base import EditRequest, unused_progress
from sama_model.editors.sama import load_sama
from tasks.seams import measured

INSTRUCTION = "make it snow"
SIZE = (832, 480)
OVERLAP = (16, 33)
"""First frame of the second chunk, end of the first."""
HARD = "hard cut"
BOUNDS = "bounds: difference <= 1.15, warp <= 1.3, luma <= 2.5, sharpness >= 0.85"


def ways(request: StitchRequest) -> dict[str, tuple[StitchRequest, bool]]:
    """Name -> (request, whether the chunks' levels are matched)."""
    found = {HARD: (replace(request, blend=0), False), "hard cut, levels": (replace(request, blend=0), True)}
    for length in (4, 6, 8, 12):
        found[f"linear {length}"] = (replace(request, blend=length), False)
        found[f"linear {length}, levels"] = (replace(request, blend=length), True)
    return found


def line(name: str, request: StitchRequest, levels: bool) -> str:
    """Stitch and measure."""
    with patch.object(edits.stitch, "levels_of", edits.stitch.levels_of if levels else lambda chunks: None):
        stitched(request)
    (seam,) = measured(request).seams
    shows = f"shows: {', '.join(seam.shows)}" if seam.shows else "does not show"
    return f"{name:<20}{seam.difference:>11.2f}{seam.warp:>8.2f}{seam.luma:>8.2f}{seam.sharpness:>11.2f}  {shows}"


WINDOWS = ((0, 17), (12, 29), (24, 41))
"""Chunks of the weights `tiny`."""
RECIPE = Recipe(8, 5.0, 5.0)


class Nothing:
    """A checkpoint that keeps nothing."""

    def load(self) -> bytes | None:
        return None

    def save(self, data: bytes) -> None:
        pass


def edited(source: Path, folder: Path, joint: bool) -> StitchRequest:
    """A shot that `tiny` edits: its chunks one by one, or as one."""
    pieces = [Piece(source, start, end, 4 if start else 0) for start, end in WINDOWS]
    request = request_of(source, pieces, (160, 96), folder, detail="upscale", blend=0 if joint else 6)
    editor = load_sama(card("sama", "tiny"), Options(), [INSTRUCTION])
    asked = [
        EditRequest(read_chunk(Path(chunk.input)), INSTRUCTION, 0, RECIPE, chunk.start // 4) for chunk in request.chunks
    ]
    together = editor.edit_together(asked, unused_progress, Nothing()) if joint else None
    for number, chunk in enumerate(request.chunks):
        frames = editor.edit(asked[number], unused_progress) if together is None else together[number]
        write_chunk(Path(chunk.output), frames)
    return request


def editor_lines(source: Path, folder: Path) -> Iterator[str]:
    """The measures of both ways, seam by seam."""
    for name, joint in (("chunks one by one", False), ("joint", True)):
        request = edited(source, folder / name, joint)
        stitched(request)
        for seam in measured(request).seams:
            yield (
                f"{name:<20}{seam.difference:>11.2f}{seam.warp:>8.2f}{seam.luma:>8.2f}{seam.sharpness:>11.2f}"
                f"  at frame {seam.frame}"
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=PAIRS)
    pairs: Path = parser.parse_args().pairs
    first, end = OVERLAP
    pieces = (Piece(pairs / "two_runs_sama.mp4", 0, end), Piece(pairs / "two_runs_sama_v2.mp4", first, 81, lead=4))
    with tempfile.TemporaryDirectory() as folder:
        source = pairs / "two_runs_source_v2.mp4"
        request = request_of(source, pieces, SIZE, Path(folder), detail="upscale")
        print(f"{'':<20}{'difference':>11}{'warp':>8}{'luma':>8}{'sharpness':>11}")
        for name, (way, levels) in ways(request).items():
            print(line(name, way, levels), flush=True)
        for text in editor_lines(source, Path(folder)):
            print(text, flush=True)
        print(BOUNDS)


if __name__ == "__main__":
    main()
