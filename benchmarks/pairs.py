"""Real edits as chunks: a source and what SAMA-14B made of it, brought into the form that stitching takes.

The clips lie in `../shared/clips/sama_pairs`. What benchmarks of seams and of detail share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from edits.media.chunkfile import ChunkWriter
from edits.media.index import index_source
from edits.media.records import FrameIndex, SplitChunk, SplitRequest, StitchChunk, StitchRequest
from edits.media.split import Squeezer, split
from edits.stitch import stitch

PAIRS = Path(__file__).resolve().parents[2] / "shared" / "clips" / "sama_pairs"

Frames = npt.NDArray[np.uint8]
"""(T, H, W, 3) RGB."""


@dataclass(frozen=True)
class Piece:
    """One chunk: frames `[start, end)` of the source, as edited in the clip `edit`; the first `lead` have no weight."""

    edit: Path
    start: int
    end: int
    lead: int = 0


def unheard(done: int, total: int) -> None:
    """Progress that nobody listens to."""


def frames_of(path: Path) -> Frames:
    """A clip as RGB, by ffmpeg's own conversion: the same for everything that is compared."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def request_of(
    source: Path, pieces: Sequence[Piece], size: tuple[int, int], folder: Path, **asked: Any
) -> StitchRequest:
    """Split `source` at `size`, write the edits' frames at that size as outputs, and say how to stitch them."""
    folder.mkdir(parents=True, exist_ok=True)
    index = index_source(source, unheard)
    names = [(str(folder / f"{n}.input.mov"), str(folder / f"{n}.output.mov")) for n in range(len(pieces))]
    parts = tuple(SplitChunk(piece.start, piece.end, 0, given) for piece, (given, _) in zip(pieces, names, strict=True))
    split(SplitRequest(str(source), index, parts, *size, "squeeze"), unheard)
    for piece, (_, output) in zip(pieces, names, strict=True):
        _write_output(piece, Path(output), size)
    return StitchRequest(
        source=str(source),
        index=index,
        start=0,
        end=pieces[-1].end,
        chunks=tuple(
            StitchChunk(piece.start, piece.end, 0, piece.lead, 0, given, output)
            for piece, (given, output) in zip(pieces, names, strict=True)
        ),
        output=str(folder / "out.mov"),
        deliverable="ffv1",
        **asked,
    )


def _write_output(piece: Piece, output: Path, size: tuple[int, int]) -> None:
    index: FrameIndex = index_source(piece.edit, unheard)
    squeezer = Squeezer(index, *size)
    with av.open(str(piece.edit)) as container, ChunkWriter(output, *size) as writer:
        for number, frame in enumerate(container.decode(video=0)):
            if piece.start <= number < piece.end:
                writer.write(squeezer.rgb(frame))


def stitched(request: StitchRequest) -> Frames:
    """The deliverable's frames."""
    stitch(request, unheard)
    return frames_of(Path(request.output))
