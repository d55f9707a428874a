"""Indexing real files: what every kind of source is found to be, and how each kind that is not handled is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from edits.errors import SourceError
from edits.media.index import index_source, quick_index
from edits.media.records import FrameIndex, Limits
from tests.fakes.clips import tone
from tests.fakes.footage import constant, drawn, variable, write_footage, write_turned

MP4, MKV = Fraction(1, 12800), Fraction(1, 1000)


def unheard(done: int, total: int) -> None:
    """Progress that nobody listens to."""


def indexed(path: Path) -> FrameIndex:
    return index_source(path, unheard)


# -- sources that are read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "base", "tick"), [(".mp4", MP4, 512), (".mkv", MKV, 40)])
def test_gaps_of_one_to_seven_frames_are_kept_as_they_are(
    tmp_path: Path, suffix: str, base: Fraction, tick: int
) -> None:
    """40 frames; the gaps run through `GAPS`, in units of 1/25 s."""
    pts = variable(40, tick)
    index = indexed(write_footage(tmp_path / f"vfr{suffix}", pts, base))
    assert [value * index.time_base for value in index.pts] == [value * base for value in pts]
    assert index.rate is None
    assert index.exact


def test_film_rate_in_milliseconds_is_24000_over_1001(tmp_path: Path) -> None:
    """100 frames at 24000/1001, rounded to whole milliseconds by Matroska."""
    pts = [round(Fraction(1001 * number, 24)) for number in range(100)]
    index = indexed(write_footage(tmp_path / "film.mkv", pts, MKV))
    assert (index.rate, index.frames, index.time_base) == (Fraction(24000, 1001), 100, MKV)


def test_a_delayed_start_is_kept(tmp_path: Path) -> None:
    """Picture from 0.5 s on, sound from 0."""
    path = write_footage(tmp_path / "late.mp4", constant(25, 512, start=6400), MP4, audio="aac")
    index = indexed(path)
    assert index.pts[0] * index.time_base == Fraction(1, 2)
    assert (index.rate, index.duration) == (25, 1)


@pytest.mark.parametrize(
    ("pixel_format", "size", "depth"),
    [("yuv422p10le", (160, 96), 10), ("yuv444p", (161, 97), 8), ("yuv420p", (98, 50), 8)],
)
def test_depth_subsampling_and_odd_sizes_are_read(tmp_path: Path, pixel_format: str, size: tuple, depth: int) -> None:
    index = indexed(
        write_footage(tmp_path / "odd.mkv", constant(4, 40), MKV, size=size, pixel_format=pixel_format, codec="ffv1")
    )
    assert (index.width, index.height, index.pixel_format, index.bit_depth) == (*size, pixel_format, depth)


def test_cuts_are_where_the_picture_changes(tmp_path: Path) -> None:
    """90 frames, another texture from frames 30 and 61 on."""
    index = indexed(write_footage(tmp_path / "cuts.mp4", constant(90, 512), MP4, cuts=(30, 61)))
    assert index.cuts == (30, 61)


def test_sound_language_timecode_and_digest_are_noted(tmp_path: Path) -> None:
    path = write_footage(tmp_path / "all.mov", constant(10, 512), MP4, audio="pcm_s16le", timecode="01:02:03:04")
    index = indexed(path)
    stream = index.audio[0]
    assert (stream.codec, stream.rate, stream.channels, stream.language) == ("pcm_s16le", 48000, 2, "fin")
    assert index.timecode == "01:02:03:04"
    assert (len(index.sha256), index.size) == (64, path.stat().st_size)


def test_progress_counts_to_the_number_of_frames(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    index_source(write_footage(tmp_path / "clip.mp4", constant(12, 512), MP4), lambda *step: seen.append(step))
    assert seen[-1] == (12, 12)


def test_headers_alone_give_a_count_that_is_not_called_exact(tmp_path: Path) -> None:
    path = write_footage(tmp_path / "clip.mp4", constant(31, 512), MP4)
    index = quick_index(path)
    assert (index.frames, index.rate, index.exact, index.sha256, index.cuts) == (31, 25, False, "", ())


def test_without_a_count_in_the_header_it_is_duration_times_rate(tmp_path: Path) -> None:
    assert quick_index(write_footage(tmp_path / "clip.mkv", constant(31, 40), MKV)).frames == 31


# -- damage -----------------------------------------------------------------------------------------------------------


def cut_short(path: Path, share: float = 0.6) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


@pytest.mark.parametrize(
    ("name", "base", "tick"), [("clip.mp4", MP4, 512), ("clip.mov", MP4, 512), ("clip.mkv", MKV, 40)]
)
@pytest.mark.parametrize("quick", [False, True])
def test_a_file_that_was_cut_short_is_refused(
    tmp_path: Path, name: str, base: Fraction, tick: int, quick: bool
) -> None:
    path = cut_short(write_footage(tmp_path / name, constant(60, tick), base, audio="aac"))
    with pytest.raises(SourceError, match="cut short"):
        (quick_index if quick else indexed)(path)


def test_a_live_matroska_that_ends_before_its_stated_duration_is_refused(tmp_path: Path) -> None:
    """The segment's size is made unknown, as recorders write it, so that only the duration tells."""
    path = write_footage(tmp_path / "clip.mkv", constant(100, 40), MKV)
    data = bytearray(path.read_bytes())
    place = data.index(b"\x18\x53\x80\x67") + 4
    data[place : place + 8] = b"\x01" + b"\xff" * 7
    path.write_bytes(data)
    assert indexed(path).frames == 100
    with pytest.raises(SourceError, match=r"speaks of 4\.00 s"):
        indexed(cut_short(path))


def test_damage_in_the_middle_is_an_error_with_a_frame_number(tmp_path: Path) -> None:
    path = write_footage(tmp_path / "clip.mp4", constant(60, 512), MP4)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"damaged.*|frame \d+ is damaged") as caught:
        indexed(path)
    assert "frame" in str(caught.value)


# -- what is not a source ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "hello\n",
        "#EXTM3U\n#EXTINF:1,\n{victim}\n",
        "ffconcat version 1.0\nfile {victim}\n",
        "",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>{victim}</BaseURL></MPD>",
    ],
    ids=["text", "playlist", "script", "empty", "dash"],
)
def test_text_named_mp4_is_no_video_and_opens_nothing_else(tmp_path: Path, text: str) -> None:
    victim = write_footage(tmp_path / "victim.mp4", constant(5, 512), MP4)
    path = tmp_path / "text.mp4"
    path.write_text(text.format(victim=victim))
    with pytest.raises(SourceError, match=r"text\.mp4: not a video file"):
        indexed(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.mp4: cannot be read: No such file"):
        indexed(tmp_path / "gone.mp4")


def test_sound_alone_has_nothing_to_edit(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        container.mux(stream.encode(tone(Fraction(1, 10))))
        container.mux(stream.encode())
    with pytest.raises(SourceError, match="no video stream"):
        indexed(path)


def test_a_video_stream_without_frames_has_nothing_to_edit(tmp_path: Path) -> None:
    path = tmp_path / "empty.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(SourceError, match="nothing to edit"):
        indexed(path)


def test_limits_on_pixels_and_duration_hold_before_decoding(tmp_path: Path) -> None:
    path = write_footage(tmp_path / "clip.mp4", constant(50, 512), MP4)
    with pytest.raises(SourceError, match="160 x 96 pixels are more than the 15,000"):
        index_source(path, unheard, Limits(max_pixels=15_000))
    with pytest.raises(SourceError, match=r"2\.0 s are more than the 1 s"):
        index_source(path, unheard, Limits(max_seconds=1))


# -- kinds that are refused -----------------------------------------------------------------------------------


def test_a_mirrored_picture_is_refused(tmp_path: Path) -> None:
    """A display matrix that turns by 180 degrees, made one that mirrors by a flip of one sign in the file."""
    path = write_turned(tmp_path / "mirrored.mp4", 180)
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags; times, number and duration; layer to volume
    assert data[place : place + 4] == b"\xff\xff\x00\x00"  # -1 in 16.16
    data[place : place + 4] = b"\x00\x01\x00\x00"
    path.write_bytes(data)
    with pytest.raises(SourceError, match="mirror"):
        indexed(path)


@pytest.mark.parametrize("suffix", [".ts", ".avi"])
def test_another_container_is_refused_with_the_way_to_rewrap_it(tmp_path: Path, suffix: str) -> None:
    path = write_footage(tmp_path / f"source{suffix}", constant(4, 3600), Fraction(1, 90_000))
    with pytest.raises(SourceError, match=r"MXF.*rewrapped without loss \(ffmpeg -i IN -c copy OUT\.mkv\)"):
        indexed(path)


def test_a_slanted_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"turn its picture by \d+ degrees.*only quarters"):
        indexed(write_turned(tmp_path / "slanted.mp4", 30))


@pytest.mark.parametrize(
    ("codec", "pixel_format"),
    [
        ("ffv1", "gray"),
        ("ffv1", "gray10le"),
        ("ffv1", "yuv411p"),
        ("png", "pal8"),
        ("ffv1", "gbrpf32le"),
    ],
)
def test_pixels_that_cannot_be_computed_with_are_refused_with_a_format_to_convert_to(
    tmp_path: Path, codec: str, pixel_format: str
) -> None:
    path = tmp_path / ("source.mov" if codec == "png" else "source.mkv")
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options={"strict": "experimental"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        frame = av.VideoFrame(64, 48, pixel_format)
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux([*stream.encode(frame), *stream.encode()])
    with pytest.raises(SourceError, match=f"pixel format {pixel_format} is not supported.*ffmpeg -pix_fmt yuv444p10le"):
        indexed(path)


def test_a_picture_size_that_changes_is_refused_at_its_frame(tmp_path: Path) -> None:
    """Eight frames of 64 x 48, then VP8 key frames of 96 x 64 in the same stream."""
    path = tmp_path / "grows.mkv"
    with av.open(str(path), "w") as container:
        small = container.add_stream("libvpx", rate=25)
        small.width, small.height, small.pix_fmt = 64, 48, "yuv420p"
        other = av.CodecContext.create("libvpx", "w")
        other.width, other.height, other.pix_fmt, other.time_base = 96, 64, "yuv420p", Fraction(1, 25)
        for number in range(12):
            size = (64, 48) if number < 8 else (96, 64)
            frame = drawn(number, size, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            for packet in (small if number < 8 else other).encode(frame):
                packet.stream = small
                container.mux(packet)
    with pytest.raises(SourceError, match="at frame 8 the picture changes from 64 x 48 yuv420p to 96 x 64"):
        indexed(path)


def test_two_video_streams_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("ffv1", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for stream in streams:
            frame = drawn(0, (64, 48), "yuv420p")
            frame.pts, frame.time_base = 0, Fraction(1, 25)
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    with pytest.raises(SourceError, match="2 video streams"):
        indexed(path)
