"""Every kind of source that is carried: written here, edited by nobody, found again bit for bit in its deliverable."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest

from edits.media.asked import as_asked, refusals
from edits.media.chunkfile import read_chunk, write_chunk
from edits.media.deliverables import left_out, suffix_for
from edits.media.formats import planar, planes
from edits.media.index import index_source
from edits.media.records import Check, Mastering, SplitRequest, StitchRequest
from edits.media.split import split
from edits.media.verify import verify
from edits.stitch import stitch
from sama_model.editors.grade import grayscale
from tests.fakes.footage import (
    constant,
    decoded,
    drawn,
    requests,
    same_frames,
    sound_bytes,
    variable,
    write_footage,
    write_turned,
)

MP4, MKV = Fraction(1, 12800), Fraction(1, 1000)


class Row:
    """What a row says of its source's kind; by default it allows everything."""

    interlaced, alpha, audio, rate, lut = "deinterlace", "carry", None, None, ""


def unheard(done: int, total: int) -> None:
    """Progress that nobody listens to."""


def delivered(source: Path, folder: Path, deliverable: str = "ffv1", **asked: Any) -> StitchRequest:
    """Index, split, edit nothing, stitch; every check passes."""
    index = as_asked(index_source(source, unheard), Row())
    output = f"out{suffix_for(deliverable, index)}"
    parts, request = requests(source, index, folder, output, deliverable=deliverable, **asked)
    passed_through(parts, request)
    return request


def passed_through(parts: SplitRequest, request: StitchRequest) -> tuple[Check, ...]:
    """Split, edit nothing, stitch; every check passes, and they are given."""
    split(parts, unheard)
    for chunk in request.chunks:
        Path(chunk.output).write_bytes(Path(chunk.input).read_bytes())
    stitch(request, unheard)
    checks = verify(request, unheard).checks
    assert [check for check in checks if not check.passed] == []
    return checks


# -- turned -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [90, 180, -90])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le"])
def test_a_turned_picture_is_written_upright(tmp_path: Path, degrees: int, pixel_format: str) -> None:
    """Compared with the source's planes turned by numpy; 4:2:2 becomes 4:4:0, which loses nothing."""
    source = write_turned(tmp_path / "turned.mp4", degrees, pixel_format)
    request = delivered(source, tmp_path)
    assert request.index.rotation == degrees % 360
    assert (request.index.width, request.index.height) == ((48, 64) if degrees % 180 else (64, 48))
    assert same_frames(source, request.output, quarters=degrees // 90)
    assert all(frame.rotation == 0 for frame in decoded(request.output))


# -- interlaced -------------------------------------------------------------------------------------------------------


def interlaced(path: Path) -> Path:
    options = {"preset": "veryfast", "x264-params": "tff=1"}
    return write_footage(path, variable(12, 40), MKV, options=options)


def test_interlaced_video_is_refused_unless_deinterlacing_is_asked_for(tmp_path: Path) -> None:
    index = index_source(interlaced(tmp_path / "tff.mkv"), unheard)
    assert index.interlaced == 12
    row = Row()
    row.interlaced = "refuse"
    assert [column for column, _, _ in refusals(index, row)] == ["interlaced"]
    assert not as_asked(index, row).deinterlace


def test_deinterlacing_keeps_count_and_times_and_leaves_no_combs(tmp_path: Path) -> None:
    source = interlaced(tmp_path / "tff.mkv")
    request = delivered(source, tmp_path)
    before, after = decoded(source), decoded(request.output)
    assert [frame.pts for frame in after] == [frame.pts for frame in before]
    assert not any(frame.interlaced_frame for frame in after)
    with av.open(str(source)) as container:
        graph = av.filter.Graph()
        entry = graph.add_buffer(template=container.streams.video[0])
        graph.link_nodes(entry, graph.add("bwdif", "mode=send_frame"), graph.add("buffersink")).configure()
        for frame in [*container.decode(video=0), None]:
            graph.vpush(frame)
        for frame in after:
            assert all(map(np.array_equal, planes(graph.vpull()), planes(frame)))


# -- alpha ------------------------------------------------------------------------------------------------------------


def with_alpha(
    path: Path, codec: str, pixel_format: str, frames: int = 5, options: dict[str, str] | None = None
) -> Path:
    """Alpha is a slope from transparent to opaque that moves."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        for number in range(frames):
            frame = drawn(number, (64, 48), pixel_format.replace("yuva", "yuv")).reformat(format=pixel_format)
            alpha = planes(frame)[3]
            alpha[:] = np.linspace(0, alpha.max() or 255, 64).astype(alpha.dtype)[None] // (1 + number % 2)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("pixel_format", ["yuva420p", "yuva444p10le"])
def test_alpha_is_carried_bit_for_bit(tmp_path: Path, pixel_format: str) -> None:
    source = with_alpha(tmp_path / "alpha.mkv", "ffv1", pixel_format)
    request = delivered(source, tmp_path)
    assert request.index.alpha
    assert same_frames(source, request.output)
    assert len(planes(decoded(request.output)[0])) == 4


@pytest.mark.parametrize(("codec", "decoder"), [("libvpx", "libvpx"), ("libvpx-vp9", "libvpx-vp9")])
def test_alpha_that_lies_beside_the_packets_is_carried(tmp_path: Path, codec: str, decoder: str) -> None:
    """VP8 and VP9: most decoders read the picture alone. Held against the one that reads both."""
    options = {"auto-alt-ref": "0", "deadline": "realtime", "cpu-used": "8", "b": "2M"}
    source = with_alpha(tmp_path / "alpha.webm", codec, "yuva420p", options=options)
    request = delivered(source, tmp_path)
    assert request.index.alpha
    reader: Any = av.CodecContext.create(decoder, "r")
    with av.open(str(source)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        wanted = [frame for packet in [*packets, None] for frame in reader.decode(packet)]
    assert len(wanted) == 5
    for before, after in zip(wanted, decoded(request.output), strict=True):
        assert len(planes(before)) == 4
        assert all(map(np.array_equal, planes(before), planes(after)))
    assert planes(wanted[0])[3].max() > 200 > 50 > planes(wanted[0])[3].min()


def test_alpha_is_carried_into_prores_4444(tmp_path: Path) -> None:
    """Written with 16 bits of alpha from 10; read back as 12: the largest error is half a level of 10."""
    source = with_alpha(tmp_path / "alpha.mkv", "ffv1", "yuva444p10le")
    request = delivered(source, tmp_path, "prores_4444")
    for before, after in zip(decoded(source), decoded(request.output), strict=True):
        error = planes(after)[3] / 4095 - planes(before)[3] / 1023
        assert np.abs(error).max() * 1023 < 0.6


def test_alpha_can_be_dropped_and_is_refused_where_nothing_holds_it(tmp_path: Path) -> None:
    index = index_source(with_alpha(tmp_path / "alpha.mkv", "ffv1", "yuva420p"), unheard)
    row = Row()
    row.alpha = "drop"
    assert suffix_for("h264", as_asked(index, row)) == ".mp4"
    row.alpha = "refuse"
    assert [column for column, _, _ in refusals(index, row)] == ["alpha"]


# -- RGB and depth ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pixel_format",
    ["bgr0", "gbrp10le", "gbrp12le", "gbrp16le", "yuv420p12le", "yuv422p12le", "yuv440p", "yuv440p10le", "yuv444p12le"],
)
def test_rgb_and_deep_formats_come_back_bit_for_bit(tmp_path: Path, pixel_format: str) -> None:
    source = tmp_path / "source.mkv"
    noise = np.random.default_rng(0)
    with av.open(str(source), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        for number in range(3):
            frame = av.VideoFrame(64, 48, "gbrp" if pixel_format == "bgr0" else pixel_format)
            depth = frame.format.components[0].bits
            for plane in planes(frame):
                plane[:] = noise.integers(0, 1 << depth, plane.shape)
            frame = frame.reformat(format=pixel_format)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    request = delivered(source, tmp_path)
    pairs = zip(decoded(source), decoded(request.output), strict=True)
    assert all(all(map(np.array_equal, planes(planar(a)), planes(planar(b)))) for a, b in pairs)
    with av.open(request.output) as container:
        assert container.streams.video[0].codec_context.pix_fmt == pixel_format


# -- beside the picture -----------------------------------------------------------------------------------------------


def rich(path: Path, subtitles: str) -> Path:
    """Two seconds with two audio tracks, subtitles, chapters and words about it."""
    plain = write_footage(path.with_name(f"plain{path.suffix}"), constant(50, 40), MKV, audio="aac")
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        streams = [target.add_stream_from_template(stream) for stream in source.streams]
        second = target.add_stream_from_template(source.streams.audio[0])
        streams[1].metadata["language"], second.metadata["language"] = "fin", "swe"
        target.metadata.update({"title": "Dailies", "comment": "roll 4"})
        target.set_chapters([_chapter(1, 0, 900, "opening"), _chapter(2, 900, 2000, "rest")])
        for packet in source.demux():
            if packet.size:
                copies = [streams[packet.stream_index]]
                if packet.stream_index == 1:
                    copies.append(second)
                for copy in copies:
                    packet.stream = copy
                    target.mux(packet)
    return _with_subtitles(path, subtitles) if subtitles else path


def _with_subtitles(path: Path, codec: str) -> Path:
    """Three lines, by ffmpeg's own program."""
    lines = [f"{n + 1}\n00:00:00,{100 + 300 * n} --> 00:00:00,{300 + 300 * n}\nline {n}\n" for n in range(3)]
    (path.parent / "lines.srt").write_text("\n".join(lines))
    plain = path.replace(path.with_name(f"silent{path.suffix}"))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", plain, "-i", path.parent / "lines.srt"]
    subprocess.run([*command, "-map", "0", "-map", "1", "-c", "copy", "-c:s", codec, path], check=True)
    return path


def _chapter(number: int, start: int, end: int, title: str) -> Any:
    return {"id": number, "start": start, "end": end, "time_base": MKV, "metadata": {"title": title}}


def beside(path: str) -> tuple[list[str], list[tuple[str, int, int]], dict[str, str]]:
    """(types and languages of streams, chapters, tags)"""
    with av.open(path) as container:
        streams = [f"{stream.type} {stream.metadata.get('language', 'und')}" for stream in container.streams]
        chapters = [
            (c["metadata"]["title"], round(c["start"] * c["time_base"] * 1000), round(c["end"] * c["time_base"] * 1000))
            for c in container.chapters()
        ]
        return streams, chapters, {key.lower(): value for key, value in container.metadata.items()}


def test_audio_tracks_chapters_and_tags_are_carried(tmp_path: Path) -> None:
    source = rich(tmp_path / "rich.mkv", "")
    request = delivered(source, tmp_path)
    streams, chapters, tags = beside(request.output)
    assert streams == ["video und", "audio fin", "audio swe"]
    assert chapters == [("opening", 0, 900), ("rest", 900, 2000)]
    assert (tags["title"], tags["comment"]) == ("Dailies", "roll 4")
    assert sound_bytes(request.output) == sound_bytes(source)


def test_chapters_of_a_range_are_cut_to_it(tmp_path: Path) -> None:
    """Frames 10 to 40 of 25 a second: from 0.4 s to 1.6 s."""
    request = delivered(rich(tmp_path / "rich.mkv", ""), tmp_path, start=10, end=40)
    assert beside(request.output)[1] == [("opening", 0, 500), ("rest", 500, 1200)]


def test_chosen_audio_tracks_are_carried_alone(tmp_path: Path) -> None:
    source = rich(tmp_path / "rich.mkv", "")
    row = Row()
    row.audio = (2,)
    index = as_asked(index_source(source, unheard), row)
    assert [stream.language for stream in index.audio] == ["swe"]
    assert as_asked(index, row) == index
    row.audio = (3,)
    assert [problem for _, problem, _ in refusals(index_source(source, unheard), row)] == [
        "the source has 2 audio tracks."
    ]


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mkv", "subrip"), (".mkv", "ass"), (".mkv", "webvtt"), (".mp4", "mov_text")]
)
def test_subtitles_are_carried_where_the_container_takes_them(tmp_path: Path, suffix: str, codec: str) -> None:
    source = rich(tmp_path / f"rich{suffix}", codec)
    request = delivered(source, tmp_path, "h264")
    assert request.output.endswith(suffix)
    with av.open(request.output) as container:
        lines = [bytes(packet) for packet in container.demux(container.streams.subtitles[0]) if packet.size > 2]
    assert [line[-6:] for line in lines] == [b"line 0", b"line 1", b"line 2"]


@pytest.mark.parametrize("codec", ["hdmv_pgs_subtitle", "dvd_subtitle"])
def test_subtitles_that_are_pictures_are_carried(tmp_path: Path, codec: str) -> None:
    """Packets that nobody looks into: a segment of eleven bytes, and the one that ends a picture."""
    plain, source = write_footage(tmp_path / "plain.mkv", constant(25, 40), MKV), tmp_path / "source.mkv"
    with av.open(str(plain)) as read, av.open(str(source), "w") as written:
        video: Any = written.add_stream_from_template(read.streams.video[0])
        titles: Any = written.add_mux_stream(codec)
        for number in range(2):
            packet = av.Packet(b"\x16\x00\x0b" + bytes([number + 1] * 11) + b"\x80\x00\x00")
            packet.pts = packet.dts = number * 400
            packet.duration, packet.time_base, packet.stream = 200, MKV, titles
            written.mux(packet)
        for packet in read.demux():
            if packet.size:
                packet.stream = video
                written.mux(packet)
    request = delivered(source, tmp_path, "h264")
    with av.open(request.output) as container:
        found = [bytes(packet) for packet in container.demux(container.streams.subtitles[0]) if packet.size]
    assert [data[3:14] for data in found] == [b"\x01" * 11, b"\x02" * 11]


def test_subtitles_that_a_container_does_not_take_are_named(tmp_path: Path) -> None:
    index = index_source(rich(tmp_path / "rich.mkv", "subrip"), unheard)
    assert left_out(index, ".mkv") == ()
    assert left_out(index, ".mp4") == ("subtitles in stream 3 (subrip is not for .mp4 files)",)


# -- MXF --------------------------------------------------------------------------------------------------------------


def test_mxf_is_read_with_its_sound_and_timecode(tmp_path: Path) -> None:
    source = tmp_path / "card.mxf"
    with av.open(str(source), "w", format="mxf") as container:
        container.metadata["timecode"] = "10:00:00:00"
        stream: Any = container.add_stream("dnxhd", rate=25, options={"profile": "dnxhr_hqx"})
        stream.width, stream.height, stream.pix_fmt = 256, 144, "yuv422p10le"
        sound: Any = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        for number in range(10):
            frame = drawn(number, (256, 144), "yuv422p10le")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        samples = av.AudioFrame.from_ndarray(np.arange(19200, dtype=np.int16)[None], format="s16", layout="mono")
        samples.sample_rate, samples.pts = 48000, 0
        container.mux(sound.encode(samples))
        container.mux([*stream.encode(), *sound.encode()])
    request = delivered(source, tmp_path, "ffv1")
    assert same_frames(source, request.output)
    assert sound_bytes(request.output) == sound_bytes(source)
    assert request.index.timecode == "10:00:00:00"


# -- HDR --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_that_is_not_edited_comes_back_bit_for_bit_and_tagged(tmp_path: Path, transfer: int) -> None:
    source = write_footage(
        tmp_path / "hdr.mkv", constant(6, 40), MKV, pixel_format="yuv420p10le", codec="ffv1", tags=(9, 9, transfer, 1)
    )
    request = delivered(source, tmp_path)
    assert request.index.tone_curve.startswith("bt2446a/1")
    assert same_frames(source, request.output)


@pytest.mark.parametrize("transfer", [16, 18])
def test_an_edit_of_hdr_lands_where_the_tone_curve_says(tmp_path: Path, transfer: int) -> None:
    """Every chunk is darkened by a tenth: seen through the curve again, the deliverable is what the editor made."""
    source = write_footage(
        tmp_path / "hdr.mkv", constant(5, 40), MKV, pixel_format="yuv444p10le", codec="ffv1", tags=(9, 9, transfer, 1)
    )  # fmt: skip
    index = index_source(source, unheard)
    parts, request = requests(source, index, tmp_path, "out.mkv", size=(160, 96))
    split(parts, unheard)
    for chunk in request.chunks:
        write_chunk(Path(chunk.output), (read_chunk(Path(chunk.input)).astype(np.uint16) * 231))
    stitch(replace(request, detail="tone"), unheard)
    again = index_source(Path(request.output), unheard)
    seen = replace(
        parts, source=request.output, index=again, chunks=(replace(parts.chunks[0], path=str(tmp_path / "s.mov")),)
    )
    split(seen, unheard)
    given, wanted = read_chunk(Path(request.chunks[0].input)), read_chunk(Path(request.chunks[0].output)) / 257
    inside = ((given > 8) & (given < 247)).all(
        axis=-1
    )  # What the curve clips comes back as it was, not as it was seen.
    found = read_chunk(tmp_path / "s.mov").astype(float)
    assert inside.mean() > 0.5
    error = np.abs(found - wanted)[inside]
    assert np.percentile(error, 99) <= 1.6
    assert error.max() <= 5  # Ten bits of PQ are coarse for the small channel of a strong colour.


MASTERING = Mastering(
    primaries=tuple(map(Fraction, ("0.68", "0.32", "0.265", "0.69", "0.15", "0.06", "0.3127", "0.329"))),
    luminance=(Fraction("0.005"), Fraction(1000)),
    light_level=(800, 200),
)


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PQ with a mastering display and light levels, as x265 states them."""
    stated = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=800,200"
    options = {"preset": "ultrafast", "x265-params": f"log-level=error:bframes=0:repeat-headers=1:hdr10-opt=1:{stated}"}
    path = tmp_path_factory.mktemp("graded") / "graded.mkv"
    footage = {"pixel_format": "yuv420p10le", "codec": "libx265", "options": options, "tags": (9, 9, 16, 1)}
    return write_footage(path, constant(3, 40), MKV, size=(256, 144), **footage)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("deliverable", "suffix"),
    [
        ("match", ".mkv"),
        ("h264", ".mkv"),
        ("h264", ".mp4"),
        ("prores_422_hq", ".mov"),
        ("dnxhr_hqx", ".mov"),
        ("ffv1", ".mkv"),
        ("ffv1", ".mov"),
        ("png_sequence", ".zip"),
    ],
)
def test_hdr_metadata_is_carried_and_read_back(tmp_path: Path, graded: Path, deliverable: str, suffix: str) -> None:
    """Whatever the codec, and whatever holds it."""
    index = index_source(graded, unheard)
    asked = requests(graded, index, tmp_path, f"out{suffix}", size=(128, 72), deliverable=deliverable)
    checks = passed_through(*asked)
    assert [check.found for check in checks if check.name == "HDR metadata"] == [str(MASTERING)]
    assert index.mastering == MASTERING
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.name.startswith(".")) == []


# -- gray -------------------------------------------------------------------------------------------------------------


def test_gray_that_is_enlarged_is_exactly_gray(tmp_path: Path) -> None:
    """The drawn frames are coloured all over, and worked on at half their size."""
    source = write_footage(tmp_path / "source.mp4", constant(5, 512), MP4)
    parts, request = requests(source, index_source(source, unheard), tmp_path, "out.mkv", detail="upscale")
    split(parts, unheard)
    for chunk in request.chunks:
        write_chunk(Path(chunk.output), np.stack([grayscale(each) for each in read_chunk(Path(chunk.input))]))
    stitch(request, unheard)
    assert not any((plane == 128).all() for frame in decoded(source) for plane in planes(frame)[1:])
    assert all((plane == 128).all() for frame in decoded(request.output) for plane in planes(frame)[1:])


# -- a part changed, the rest untouched -------------------------------------------------------------------------------


@pytest.mark.parametrize("detail", ["full", "upscale"])
def test_the_full_scope_changes_the_range_and_nothing_else(tmp_path: Path, detail: str) -> None:
    source = write_footage(tmp_path / "source.mp4", constant(40, 512), MP4, audio="aac")
    index = index_source(source, unheard)
    parts, request = requests(source, index, tmp_path, "out.mkv", start=12, end=25, detail=detail)
    split(parts, unheard)
    for chunk in request.chunks:
        write_chunk(Path(chunk.output), 255 - read_chunk(Path(chunk.input)))
    request = replace(request, start=0, end=40, edited=(12, 25))
    stitch(request, unheard)
    assert verify(request, unheard).passed
    assert sound_bytes(request.output) == sound_bytes(source)
    for number, pair in enumerate(zip(decoded(source), decoded(request.output), strict=True)):
        same = all(map(np.array_equal, *map(planes, pair)))
        assert same == (not 12 <= number < 25), number
