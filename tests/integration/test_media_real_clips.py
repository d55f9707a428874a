"""Footage that nobody here made: indexed as its description says, and carried through untouched and edited."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edits.errors import SourceError
from edits.media.chunkfile import read_chunk, write_chunk
from edits.media.deliverables import suffix_for
from edits.media.formats import planes
from edits.media.index import index_source, quick_index
from edits.media.records import FrameIndex, StitchRequest
from edits.media.split import split
from edits.media.verify import verify
from edits.stitch import stitch
from tests.fakes.footage import decoding, requests, same_frames, sound_bytes, times

pytestmark = pytest.mark.shared

READ = {
    "dog.mp4": (289, Fraction(30000, 1001), ["aac"]),
    "bunny_cuts.webm": (720, Fraction(24), ["vorbis"]),
    "no_duration.webm": (74, None, ["opus"]),
    "pcm_1080p50.mov": (100, Fraction(50), ["pcm_s16le"]),
    "vfr_360p.mp4": (512, Fraction(23040000, 767849), ["aac"]),
    "full_range.mp4": (30, Fraction(30), []),
    "h264_10bit.mp4": (30, Fraction(30), []),
    "chapters.mp4": (30, Fraction(30000, 1001), ["aac"]),
    "rotated_270.mp4": (149, Fraction(30000, 1001), ["aac"]),
    "editlist_hlg_rotated_vfr.mp4": (77, Fraction(30000, 1001), ["aac"]),
    "alpha.webm": (150, Fraction(30), ["vorbis"]),
}
QUARTERS = {"rotated_270.mp4": 1, "editlist_hlg_rotated_vfr.mp4": 3}
"""Counterclockwise turns that the file asks for."""


def unheard(done: int, total: int) -> None:
    """Progress that nobody listens to."""


@pytest.mark.parametrize("name", READ)
def test_count_rate_and_sound_are_those_of_the_description(shared: Path, name: str) -> None:
    index = index_source(shared / "clips" / name, unheard)
    assert (index.frames, index.rate, [stream.codec for stream in index.audio]) == READ[name]


def test_cuts_are_those_of_pyscenedetects_own_command(shared: Path) -> None:
    from scenedetect import ContentDetector, detect

    path = shared / "clips" / "bunny_cuts.webm"
    expected = tuple(scene[0].frame_num for scene in detect(str(path), ContentDetector()))[1:]
    assert index_source(path, unheard).cuts == expected


def test_a_header_without_count_and_duration_asks_for_an_index(shared: Path) -> None:
    with pytest.raises(SourceError, match="index it by decoding"):
        quick_index(shared / "clips" / "no_duration.webm")


def prepared(
    source: Path, folder: Path, deliverable: str, *, detail: str = "full", start: int = 0, end: int | None = None
) -> StitchRequest:
    index: FrameIndex = index_source(source, unheard)
    name = f"out{suffix_for(deliverable, index)}"
    asked = {"deliverable": deliverable, "size": (160, 96), "detail": detail, "start": start, "end": end}
    parts, request = requests(source, index, folder, name, **asked)  # type: ignore[arg-type]
    split(parts, unheard)
    return request


LONG = (
    "dog.mp4",
    "bunny_cuts.webm",
    "pcm_1080p50.mov",
    "vfr_360p.mp4",
    "rotated_270.mp4",
    "editlist_hlg_rotated_vfr.mp4",
    "alpha.webm",
)


def test_no_clip_is_forgotten(shared: Path) -> None:
    """None of them is refused."""
    kinds = (".mp4", ".mov", ".mkv", ".webm", ".mxf")
    assert {path.name for path in (shared / "clips").iterdir() if path.suffix in kinds} == set(READ)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.footage) if name in LONG else name for name in READ]
)
def test_untouched_clips_come_back_bit_for_bit_with_their_times_and_sound(
    shared: Path, tmp_path: Path, name: str
) -> None:
    """Whole; the alpha of the one that has it is `test_media_kinds`'s."""
    source = shared / "clips" / name
    request = prepared(source, tmp_path, "ffv1")
    for chunk in request.chunks:
        Path(chunk.output).write_bytes(Path(chunk.input).read_bytes())
    stitch(request, unheard)
    assert (request.start, request.end) == (0, READ[name][0])
    assert same_frames(source, request.output, quarters=QUARTERS.get(name, 0))
    assert sound_bytes(request.output) == sound_bytes(source)
    found = verify(request, unheard)
    assert [check for check in found.checks if not check.passed] == []


@pytest.mark.parametrize("name", ["chapters.mp4", "no_duration.webm"])
def test_edited_clips_keep_count_times_and_sound(shared: Path, tmp_path: Path, name: str) -> None:
    source = shared / "clips" / name
    request = prepared(source, tmp_path, "h264")
    for chunk in request.chunks:
        write_chunk(Path(chunk.output), 255 - read_chunk(Path(chunk.input)))
    stitch(request, unheard)
    assert times(request.output) == times(source)
    assert sound_bytes(request.output) == sound_bytes(source)
    assert verify(request, unheard).passed


def test_cuts_of_real_footage_are_never_blended(shared: Path, tmp_path: Path) -> None:
    """Shots are black and white by turns: a blended frame would be grey."""
    source = shared / "clips" / "bunny_cuts.webm"
    request = prepared(source, tmp_path, "ffv1", detail="upscale", start=260, end=400)
    for chunk in request.chunks:
        frames = read_chunk(Path(chunk.input))
        write_chunk(Path(chunk.output), np.full_like(frames, 255 * (chunk.shot % 2)))
    stitch(request, unheard)
    assert [cut for cut in request.index.cuts if 260 < cut < 400] == [283, 376]
    for number, frame in enumerate(decoding(request.output), 260):
        assert set(np.unique(planes(frame)[0])) == {235 if 283 <= number < 376 else 16}
