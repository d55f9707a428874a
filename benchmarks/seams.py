"""How much a seam shows between two real edits of one shot, by SAMA-14B, cut together in several ways.

    python benchmarks/seams.py [--pairs ../shared/clips/sama_pairs]

The first run edited 49 frames, the second 81; a third chunk begins again with the first run's start as control. Chunk
one is the first run up to frame 33, chunk two the second run from frame 16: 17 frames overlap, as with SAMA-14B's card.
Everything goes through split and stitch at the clips' own size. A measure is a ratio to steps away from the seam.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from pairs import PAIRS, Piece, request_of, stitched

import edits.stitch
from edits.media.records import StitchRequest
from tasks.seams import measured

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
        print(BOUNDS)


if __name__ == "__main__":
    main()
