"""Verification finds what is wrong with a deliverable: each check fails for the fault it is there for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edits.errors import VerificationError
from edits.media.chunkfile import read_chunk, write_chunk
from edits.media.formats import planes
from edits.media.index import index_source
from edits.media.records import StitchRequest, Verification
from edits.media.split import split
from edits.media.verify import verify
from edits.stitch import stitch
from tests.fakes.footage import constant, decoded, requests, write_footage

MP4 = Fraction(1, 12800)
WELL = {"pts": constant(30, 512), "time_base": MP4, "audio": "aac", "timecode": "01:00:00:00"}


def unheard(done: int, total: int) -> None:
    """Progress that nobody listens to."""


@pytest.fixture
def request_for(tmp_path: Path) -> StitchRequest:
    """A source of 30 frames, and what its H.264 deliverable should be."""
    source = write_footage(tmp_path / "source.mp4", **WELL)  # type: ignore[arg-type]
    index = index_source(source, unheard)
    return requests(source, index, tmp_path, "out.mp4", deliverable="h264")[1]


def failed(verification: Verification) -> set[str]:
    return {check.name for check in verification.checks if not check.passed}


def test_a_file_like_the_source_passes_and_is_described(request_for: StitchRequest) -> None:
    path = write_footage(Path(request_for.output), **WELL)  # type: ignore[arg-type]
    found = verify(request_for, unheard)
    assert failed(found) == set()
    assert (found.frames, found.duration, found.size) == (30, Fraction(6, 5), path.stat().st_size)
    assert [(stream.kind, stream.codec) for stream in found.streams[:2]] == [("video", "h264"), ("audio", "aac")]
    assert "crf=18" in found.encoding
    assert "threads=2" in found.encoding


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"pts": constant(29, 512)}, {"frame count", "duration"}),
        ({"pts": [*constant(20, 512), *constant(10, 512, start=20 * 512 + 1)]}, {"timestamps"}),
        ({"size": (160, 98)}, {"picture size"}),
        ({"pixel_format": "yuv422p"}, {"pixel format"}),
        ({"tags": (5, 1, 1, 1)}, {"colour matrix"}),
        ({"tags": (1, 5, 1, 1)}, {"colour primaries"}),
        ({"tags": (1, 1, 6, 1)}, {"colour transfer"}),
        ({"tags": (1, 1, 1, 2)}, {"colour range"}),
        ({"aspect": Fraction(4, 3)}, {"sample aspect ratio"}),
        ({"audio": None}, {"audio streams"}),
        ({"audio": "mp3"}, {"audio 0 packets"}),
        ({"timecode": "01:00:00:01"}, {"start timecode"}),
    ],
)
def test_each_fault_fails_its_own_check(request_for: StitchRequest, fault: dict[str, object], expected: set) -> None:
    write_footage(Path(request_for.output), **{**WELL, **fault})  # type: ignore[arg-type]
    found = failed(verify(request_for, unheard))
    assert expected <= found
    assert found <= expected | {"audio 0 packets", "audio 0 start", "duration"}


def test_a_file_that_was_cut_short_fails(request_for: StitchRequest) -> None:
    """Index first, data last, half of it missing."""
    matroska = replace(request_for, output=request_for.output.replace(".mp4", ".mkv"))
    path = write_footage(Path(matroska.output), constant(30, 40), Fraction(1, 1000), audio="aac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert {"file is whole", "frame count", "audio 0 packets"} <= failed(verify(matroska, unheard))


def test_damage_fails_with_the_frame(request_for: StitchRequest) -> None:
    path = write_footage(Path(request_for.output), **WELL)  # type: ignore[arg-type]
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 1500] = bytes(1500)
    path.write_bytes(data)
    found = verify(request_for, unheard)
    assert "decodes" in failed(found)
    assert any("frame" in check.found for check in found.checks if check.name == "decodes")


def test_what_cannot_be_opened_raises(request_for: StitchRequest) -> None:
    Path(request_for.output).write_text("not a video")
    with pytest.raises(VerificationError, match="cannot be read back"):
        verify(request_for, unheard)


# -- pictures ---------------------------------------------------------------------------------------------------------


def stitched(tmp_path: Path, output: str, deliverable: str) -> StitchRequest:
    """30 frames of which 10 to 19 are edited: brightened."""
    source = write_footage(tmp_path / "source.mkv", constant(30, 40), Fraction(1, 1000))
    index = index_source(source, unheard)
    parts, request = requests(source, index, tmp_path, output, deliverable=deliverable, start=10, end=20)
    split(parts, unheard)
    for chunk in request.chunks:
        write_chunk(Path(chunk.output), np.minimum(read_chunk(Path(chunk.input)), 215) + np.uint8(40))
    request = replace(request, start=0, end=30, edited=(10, 20))
    stitch(request, unheard)
    return request


def rewritten(request: StitchRequest, change: Callable[[int, np.ndarray], None]) -> set[str]:
    """The checks that fail once `change` was made to the luma of the deliverable's frames, by number."""
    path = Path(request.output)
    frames = decoded(path)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1" if path.suffix == ".mkv" else "libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1
        for number, frame in enumerate(frames):
            change(number, planes(frame)[0])
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return failed(verify(request, unheard))


def test_pictures_are_held_against_source_and_stitch(tmp_path: Path) -> None:
    request = stitched(tmp_path, "out.mkv", "ffv1")
    found = verify(request, unheard)
    assert failed(found) == set()
    names = {check.name for check in found.checks}
    assert {"pictures as stitched", "untouched pictures as in the source", "pictures bit for bit"} <= names

    def one_pixel(number: int, luma: np.ndarray) -> None:
        luma[40, 80] ^= number == 17

    def lift_untouched(number: int, luma: np.ndarray) -> None:
        luma += np.uint8(4 * (number == 5))

    assert rewritten(request, one_pixel) == {"pictures bit for bit"}
    assert "untouched pictures as in the source" in rewritten(request, lift_untouched)


def test_a_picture_that_turned_black_is_named(tmp_path: Path) -> None:
    request = stitched(tmp_path, "out.mp4", "h264")
    assert failed(verify(request, unheard)) == set()

    def blacken(number: int, luma: np.ndarray) -> None:
        luma[:] = 16 if number == 14 else luma

    assert {"no black pictures", "no flashing pictures", "pictures as stitched"} <= rewritten(request, blacken)
