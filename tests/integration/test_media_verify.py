"""Verification finds what is wrong with a deliverable: each check fails for the fault it is there for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from edits.errors import VerificationError
from edits.media.index import index_source
from edits.media.records import StitchRequest, Verification
from edits.media.verify import verify
from tests.fakes.footage import constant, requests, write_footage

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
