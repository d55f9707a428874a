"""What lies beside the picture, in frames and in streams, is carried or named; nothing is lost without a word."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import pytest

from edits.errors import SourceError
from edits.media.deliverables import left_out, suffix_for
from edits.media.index import index_source, quick_index
from edits.media.split import split
from edits.media.verify import verify
from edits.stitch import stitch
from tasks.forecast import forecast
from tasks.intake import read_order
from tasks.run import open_run
from tests.fakes.footage import constant, requests, variable, write_footage

MP4, MKV = Fraction(1, 12800), Fraction(1, 1000)
CAPTIONS = bytes.fromhex("06 04 0e b5 0031 47413934 03 41 ff fc 94 2c ff 80")
"""H.264: a message (type 4) of a television's captions (ATSC A/53, part 4), one pair of bytes."""
DOLBY = bytes.fromhex("7c01 19 fc11 7433d9a0 80")
"""H.265: the unit (type 62) that Dolby Vision's metadata lies in: of an unknown kind, with its checksum."""


def unheard(done: int, total: int) -> None:
    """Progress that nobody listens to."""


def with_units(source: Path, target: Path, unit: bytes, *, first: bool) -> Path:
    """`source` with one more unit of H.264 or H.265 in each picture, at its beginning or its end."""
    added = len(unit).to_bytes(4, "big") + unit
    with av.open(str(source)) as read, av.open(str(target), "w") as written:
        stream: Any = written.add_stream_from_template(read.streams.video[0])
        for packet in read.demux():
            if packet.size:
                data = added + bytes(packet) if first else bytes(packet) + added
                copy = av.Packet(data)
                copy.pts, copy.dts, copy.duration, copy.time_base = (
                    packet.pts, packet.dts, packet.duration, packet.time_base,
                )  # fmt: skip
                copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                written.mux(copy)
    return target


# -- in frames --------------------------------------------------------------------------------------------------------


def test_closed_captions_are_named(tmp_path: Path) -> None:
    plain = write_footage(tmp_path / "plain.mp4", constant(5, 512), MP4)
    source = with_units(plain, tmp_path / "captions.mp4", CAPTIONS, first=True)
    assert left_out(index_source(source, unheard), ".mp4") == ("closed captions",)
    assert left_out(quick_index(source), ".mp4") == ("closed captions",)
    assert left_out(index_source(plain, unheard), ".mp4") == ()


def dolby(folder: Path, tags: tuple[int, int, int, int]) -> Path:
    options = {"preset": "ultrafast", "x265-params": "log-level=error:bframes=0"}
    footage = {"pixel_format": "yuv420p10le", "codec": "libx265", "options": options, "tags": tags}
    plain = write_footage(folder / "plain.mp4", constant(3, 512), MP4, **footage)  # type: ignore[arg-type]
    return with_units(plain, folder / "dolby.mp4", DOLBY, first=False)


def test_dolby_vision_over_hlg_is_read_as_that_and_its_metadata_named(tmp_path: Path) -> None:
    index = index_source(dolby(tmp_path, (9, 9, 18, 1)), unheard)
    assert index.tone_curve.startswith("bt2446a/1 arib-std-b67")
    assert left_out(index, ".mp4") == ("Dolby Vision metadata",)


def test_dolby_vision_without_colours_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"profile 5.*export HDR10 or HLG"):
        index_source(dolby(tmp_path, (2, 2, 2, 2)), unheard)


# -- in streams -------------------------------------------------------------------------------------------------------

CHAPTERS = """;FFMETADATA1
[CHAPTER]
TIMEBASE=1/1000
START=0
END=400
title=one
[CHAPTER]
TIMEBASE=1/1000
START=400
END=1000
title=two
"""


def ffmpeg(*arguments: Path | str) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *arguments], check=True)


def test_a_cover_is_named_and_a_track_of_chapters_is_not(tmp_path: Path) -> None:
    plain = write_footage(tmp_path / "plain.mp4", constant(25, 512), MP4)
    cover, words = tmp_path / "cover.jpg", tmp_path / "chapters.txt"
    ffmpeg("-i", plain, "-frames:v", "1", "-update", "1", cover)
    words.write_text(CHAPTERS)
    inputs = ("-i", plain, "-i", cover, "-i", words)
    source = tmp_path / "covered.mp4"
    ffmpeg(
        *inputs,
        "-map",
        "0",
        "-map",
        "1",
        "-map_chapters",
        "2",
        "-c",
        "copy",
        "-disposition:v:1",
        "attached_pic",
        source,
    )
    index = index_source(source, unheard)
    assert index.chapters == 2
    assert left_out(index, ".mp4") == ("the cover picture in stream 2",)


def test_an_attachment_is_named(tmp_path: Path) -> None:
    plain = write_footage(tmp_path / "plain.mkv", constant(5, 40), MKV)
    (tmp_path / "title.ttf").write_bytes(b"no font")
    font = ("-attach", tmp_path / "title.ttf", "-metadata:s:t", "mimetype=font/ttf")
    ffmpeg("-i", plain, "-map", "0", "-c", "copy", *font, tmp_path / "attached.mkv")
    index = index_source(tmp_path / "attached.mkv", unheard)
    assert left_out(index, ".mkv") == ("attachment title.ttf in stream 1",)


# -- what a conform goes by -------------------------------------------------------------------------------------------


def test_a_timecode_that_cannot_be_restated_is_named(tmp_path: Path) -> None:
    index = index_source(write_footage(tmp_path / "a.mp4", constant(5, 512), MP4, timecode="10:00:00:00"), unheard)
    assert left_out(index, ".mov") == ()
    assert left_out(index, ".zip") == ("start timecode 10:00:00:00: pictures hold none",)
    uneven = index_source(write_footage(tmp_path / "b.mp4", variable(9, 512), MP4, timecode="10:00:00:00"), unheard)
    assert left_out(uneven, ".mov") == ("start timecode 10:00:00:0: the frame rate varies",)


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_a_reel_is_carried_where_it_can_be_and_decides_the_container(tmp_path: Path, suffix: str) -> None:
    plain = write_footage(tmp_path / "plain.mov", constant(5, 512), MP4, timecode="10:00:00:00")
    source = tmp_path / "reel.mov"
    ffmpeg("-i", plain, "-c", "copy", "-timecode", "10:00:00:00", "-metadata:s:v", "reel_name=A001C003", source)
    index = index_source(source, unheard)
    assert (index.timecode, index.reel) == ("10:00:00:00", "A001C003")
    assert suffix_for("h264", index) == ".mov"
    assert left_out(index, ".mp4") == ("reel A001C003: .mp4 files hold none",)
    parts, request = requests(source, index, tmp_path, f"out{suffix}", deliverable="h264")
    split(parts, unheard)
    for chunk in request.chunks:
        Path(chunk.output).write_bytes(Path(chunk.input).read_bytes())
    stitch(request, unheard)
    assert {check.name: check.found for check in verify(request, unheard).checks}["reel"] == "A001C003"


def test_match_keeps_the_sources_container(tmp_path: Path) -> None:
    for suffix, base, tick in ((".mov", MP4, 512), (".mp4", MP4, 512), (".mkv", MKV, 40)):
        index = index_source(write_footage(tmp_path / f"a{suffix}", constant(5, tick), base), unheard)
        assert suffix_for("match", index) == suffix
    assert suffix_for("h264", replace(index, container="mov")) == ".mp4"


def test_the_picture_stays_what_players_begin_with(tmp_path: Path) -> None:
    """Matroska's default flag, of a source that has it."""
    plain = write_footage(tmp_path / "plain.mkv", constant(5, 40), MKV)
    source = tmp_path / "flagged.mkv"
    ffmpeg("-i", plain, "-map", "0", "-c", "copy", "-disposition:v:0", "default", source)
    parts, request = requests(source, index_source(source, unheard), tmp_path, "out.mkv")
    split(parts, unheard)
    for chunk in request.chunks:
        Path(chunk.output).write_bytes(Path(chunk.input).read_bytes())
    stitch(request, unheard)
    with av.open(request.output) as container:
        assert container.streams.video[0].disposition & av.stream.Disposition.default


def test_a_row_whose_container_does_not_do_is_told_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Film's rate in a QuickTime file: between milliseconds. And a variable one as pictures, which have no times."""
    monkeypatch.chdir(tmp_path)
    write_footage(tmp_path / "film.mov", constant(9, 1001), Fraction(1, 24000))
    write_footage(tmp_path / "uneven.mp4", variable(9, 512), MP4)
    rows = "film.mov,make it sepia,grade,ffv1,film.mkv\nuneven.mp4,make it sepia,grade,png_sequence,\n"
    with open_run((tmp_path,)) as run:
        order = read_order(run, f"source,instruction,editor,deliverable,output\n{rows}".encode(), "a.csv", tmp_path)
        film, uneven = forecast(run, order, quick=False).rows
    assert "column 'output', value 'film.mkv': this file holds whole milliseconds only" in film.error
    assert "End it in .mov" in film.error
    assert "column 'deliverable', value 'png_sequence': .zip holds no times" in uneven.error
