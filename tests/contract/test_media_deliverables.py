"""Every deliverable in every container that offers itself: written, read back, and found to be what was asked for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edits.errors import OutputError
from edits.media.chunkfile import read_chunk, write_chunk
from edits.media.deliverables import DELIVERABLES, deliverable_for, suffix_for, writable_suffixes
from edits.media.index import index_source
from edits.media.records import AudioStream, FrameIndex, StitchRequest
from edits.media.split import split
from edits.media.verify import verify
from edits.stitch import stitch
from tests.fakes.footage import constant, requests, variable, write_footage

SIZE = (256, 144)
"""DNxHR begins at 256 x 120."""
CASES = [(name, suffix) for name, entry in DELIVERABLES.items() for suffix in entry.suffixes if suffix != ".zip"]
"""Pictures in an archive have no times and no sound: test_media_sequence.py."""


def unheard(done: int, total: int) -> None:
    """Progress that nobody listens to."""


def delivered(source: Path, folder: Path, output: str, **asked: object) -> StitchRequest:
    """Split, brighten every chunk by a level, stitch."""
    index = index_source(source, unheard)
    parts, request = requests(source, index, folder, output, **asked)  # type: ignore[arg-type]
    split(parts, unheard)
    for chunk in request.chunks:
        write_chunk(Path(chunk.output), np.minimum(read_chunk(Path(chunk.input)), 254) + np.uint8(1))
    stitch(request, unheard)
    return request


@pytest.mark.parametrize(("deliverable", "suffix"), CASES)
def test_what_is_offered_can_be_written_and_passes_every_check(tmp_path: Path, deliverable: str, suffix: str) -> None:
    """25 frames a second in whole milliseconds, square pixels, AAC, start timecode: every container holds these."""
    source = write_footage(
        tmp_path / "source.mp4", constant(20, 512), Fraction(1, 12800), size=SIZE, audio="aac", timecode="01:00:00:00"
    )
    request = delivered(source, tmp_path, f"out{suffix}", deliverable=deliverable)
    found = verify(request, unheard)
    assert [check for check in found.checks if not check.passed] == []
    names = {check.name for check in found.checks}
    assert {"timestamps", "audio 0 packets", "colour transfer", "start timecode", "sample aspect ratio"} <= names


@pytest.mark.parametrize(("deliverable", "suffix"), CASES)
def test_a_variable_rate_is_kept_to_the_end_of_its_last_frame(tmp_path: Path, deliverable: str, suffix: str) -> None:
    """The gaps run through 1 to 7 frames of 1/25 s; the last frame lasts as long as the gap before it."""
    source = write_footage(tmp_path / "source.mp4", variable(24, 512), Fraction(1, 12800), size=SIZE, audio="aac")
    request = delivered(source, tmp_path, f"out{suffix}", deliverable=deliverable)
    assert request.index.rate is None
    assert [check for check in verify(request, unheard).checks if not check.passed] == []


@pytest.mark.parametrize("deliverable", DELIVERABLES)
def test_pixels_that_are_not_square_stay_so(tmp_path: Path, deliverable: str) -> None:
    source = write_footage(
        tmp_path / "source.mp4", constant(5, 512), Fraction(1, 12800), size=SIZE, aspect=Fraction(4, 3)
    )
    index = index_source(source, unheard)
    assert index.sample_aspect_ratio == Fraction(4, 3)
    for suffix in writable_suffixes(deliverable, index):
        request = delivered(source, tmp_path, f"out{suffix}", deliverable=deliverable)
        assert verify(request, unheard).passed


@pytest.mark.parametrize("deliverable", DELIVERABLES)
def test_full_range_comes_out_as_the_deliverable_says(tmp_path: Path, deliverable: str) -> None:
    source = write_footage(tmp_path / "source.mp4", constant(8, 512), Fraction(1, 12800), size=SIZE, tags=(1, 1, 1, 2))
    request = delivered(source, tmp_path, f"out{DELIVERABLES[deliverable].suffixes[0]}", deliverable=deliverable)
    assert request.index.colour.range == "pc"
    found = {check.name: check for check in verify(request, unheard).checks}
    assert found["colour range"].passed, found["colour range"]
    assert found["colour range"].found == (
        "tv (1)" if deliverable_for(deliverable, request.index).limited_range else "pc (2)"
    )


@pytest.mark.parametrize("deliverable", DELIVERABLES)
def test_odd_sizes_keep_every_pixel(tmp_path: Path, deliverable: str) -> None:
    source = write_footage(
        tmp_path / "source.mkv", constant(6, 40), Fraction(1, 1000), size=(257, 145), codec="ffv1"
    )  # fmt: skip
    suffix = suffix_for(deliverable, index_source(source, unheard))
    request = delivered(source, tmp_path, f"out{suffix}", deliverable=deliverable)
    found = verify(request, unheard)
    assert found.passed, found.checks
    assert {check.name: check.found for check in found.checks}["picture size"] == "257 x 145"


# -- what is offered --------------------------------------------------------------------------------------------------


def plain_index(tmp_path: Path) -> FrameIndex:
    return index_source(write_footage(tmp_path / "plain.mp4", constant(5, 512), Fraction(1, 12800)), unheard)


def with_audio(index: FrameIndex, codec: str) -> FrameIndex:
    return replace(index, audio=(AudioStream(1, codec, 48000, 2, ""),))


@pytest.mark.parametrize(
    ("codec", "expected"),
    [
        ("aac", (".mp4", ".mov", ".mkv")),
        ("pcm_s24le", (".mov", ".mkv")),
        ("opus", (".mp4", ".mkv")),
        ("vorbis", (".mkv",)),
        ("cook", ()),
    ],
)
def test_containers_that_cannot_hold_the_audio_are_not_offered(
    tmp_path: Path, codec: str, expected: tuple[str]
) -> None:
    assert writable_suffixes("h264", with_audio(plain_index(tmp_path), codec)) == expected


def test_matroska_is_not_offered_for_times_between_milliseconds(tmp_path: Path) -> None:
    index = replace(plain_index(tmp_path), time_base=Fraction(1001, 24000), pts=tuple(range(5)), last_duration=1)
    assert writable_suffixes("ffv1", index) == (".mov",)
    assert suffix_for("ffv1", index) == ".mov"


def test_when_nothing_is_offered_the_error_says_why_of_each_container(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.mov does not take vorbis audio.*Choose another"):
        suffix_for("prores_422_hq", with_audio(plain_index(tmp_path), "vorbis"))


def test_a_container_that_is_not_offered_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    index = plain_index(tmp_path)
    parts, request = requests(tmp_path / "plain.mp4", index, tmp_path, "out.avi")
    split(parts, unheard)
    for chunk in request.chunks:
        Path(chunk.output).write_bytes(Path(chunk.input).read_bytes())
    with pytest.raises(OutputError, match=r"\.avi cannot hold deliverable ffv1.*\.mkv, \.mov"):
        stitch(request, unheard)
    assert not (tmp_path / "out.avi").exists()
