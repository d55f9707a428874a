"""Numbered pictures: read as a source at a stated rate, and delivered in a file from 1001 on."""

from __future__ import annotations

import gc
import zipfile
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edits.errors import SourceError
from edits.media.formats import planar, planes
from edits.media.index import index_source, quick_index
from edits.media.records import StitchRequest
from edits.media.split import split
from edits.media.verify import verify
from edits.sequence import sequence_of
from edits.stitch import stitch
from tests.fakes.footage import decoded, drawn, requests

RATE = Fraction(24000, 1001)


def unheard(done: int, total: int) -> None:
    """Progress that nobody listens to."""


def write_pictures(folder: Path, codec: str, pixel_format: str, suffix: str, frames: int = 6) -> list[av.VideoFrame]:
    """`folder/sh010.1001<suffix>` and so on, of noise; gives the frames."""
    folder.mkdir(parents=True, exist_ok=True)
    noise, written = np.random.default_rng(0), []
    options = {"start_number": "1001"}
    with av.open(f"{folder}/sh010.%04d{suffix}", "w", format="image2", options=options) as container:
        stream: Any = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        for number in range(frames):
            deep = "48" in pixel_format or "10" in pixel_format
            frame = av.VideoFrame(64, 48, ("gbrp10le" if "10" in pixel_format else "gbrp16le") if deep else "gbrp")
            for plane in planes(frame):
                plane[:] = noise.integers(0, 1 << frame.format.components[0].bits, plane.shape)
            frame = frame.reformat(format=pixel_format)
            frame.pts, frame.time_base = number, Fraction(1, 24)
            written.append(frame)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return written


def delivered(source: Path, folder: Path, deliverable: str, output: str) -> StitchRequest:
    index = index_source(source, unheard, rate=RATE)
    parts, request = requests(source, index, folder, output, deliverable=deliverable)
    split(parts, unheard)
    for chunk in request.chunks:
        Path(chunk.output).write_bytes(Path(chunk.input).read_bytes())
    stitch(request, unheard)
    assert [check for check in verify(request, unheard).checks if not check.passed] == []
    return request


@pytest.mark.parametrize(
    ("codec", "pixel_format", "suffix"),
    [
        ("png", "rgb24", ".png"),
        ("png", "rgb48be", ".png"),
        ("dpx", "gbrp10le", ".dpx"),
        ("tiff", "rgb24", ".tif"),
        ("tiff", "rgb48le", ".tiff"),
    ],
)
def test_a_sequence_is_a_source_at_its_rate(tmp_path: Path, codec: str, pixel_format: str, suffix: str) -> None:
    pictures = tmp_path / "plates"
    written = write_pictures(pictures, codec, pixel_format, suffix)
    request = delivered(pictures / f"sh010.####{suffix}", tmp_path, "ffv1", "out.mov")
    assert (request.index.frames, request.index.rate) == (6, RATE)
    for before, after in zip(written, decoded(request.output), strict=True):
        assert all(map(np.array_equal, planes(planar(before)), planes(planar(after))))


def test_a_tiff_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    """Also one whose table of contents lies before what is missing."""
    write_pictures(tmp_path / "plates", "tiff", "rgb24", ".tif", 3)
    path = tmp_path / "plates" / "sh010.1002.tif"
    data = path.read_bytes()
    table = int.from_bytes(data[4:8], "little")
    path.write_bytes(data[:4] + len(data).to_bytes(4, "little") + data[8:] + data[table:])
    assert index_source(tmp_path / "plates", unheard, rate=RATE).frames == 3
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="damaged at frame 1"):
        index_source(tmp_path / "plates", unheard, rate=RATE)


def test_a_profile_of_colours_is_named(tmp_path: Path) -> None:
    """A chunk `iCCP` in the first picture: its name, then a compressed profile that nobody looks into. A frame whose
    side data had been listed would end the process when its memory is collected."""
    write_pictures(tmp_path / "plates", "png", "rgb24", ".png", 3)
    path = tmp_path / "plates" / "sh010.1001.png"
    data, profile = path.read_bytes(), b"iCCPwide\0\0" + zlib.compress(bytes(128))
    chunk = (len(profile) - 4).to_bytes(4, "big") + profile + zlib.crc32(profile).to_bytes(4, "big")
    assert index_source(tmp_path / "plates", unheard, rate=RATE).not_carried == ()
    path.write_bytes(data[:33] + chunk + data[33:])
    assert index_source(tmp_path / "plates", unheard, rate=RATE).not_carried == ("an ICC profile",)
    gc.collect()


EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
"""A camera's words: one tag, which says that the picture is to be turned clockwise by a quarter."""


@pytest.mark.parametrize("exif", [b"", EXIF], ids=["plain", "a camera's, turned"])
def test_a_sequence_of_jpegs_is_read_as_it_is_decoded(tmp_path: Path, exif: bytes) -> None:
    """YUV in full range, which JPEG means; bit for bit from there on, and upright."""
    pictures = tmp_path / "plates"
    pictures.mkdir()
    with av.open(f"{pictures}/sh010.%04d.jpg", "w", format="image2") as container:
        stream: Any = container.add_stream("mjpeg", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number in range(3):
            frame = drawn(number, (64, 48), "yuv420p").reformat(format="yuvj420p")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for path in pictures.iterdir():
        data = path.read_bytes()
        words = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif if exif else b""
        path.write_bytes(data[:2] + words + data[2:])
    request = delivered(pictures, tmp_path, "ffv1", "out.mov")
    assert (request.index.frames, request.index.colour.range, request.index.rotation) == (3, "pc", 270 if exif else 0)
    with av.open(str(pictures / "sh010.%04d.jpg"), format="image2") as container:
        for before, after in zip(container.decode(video=0), decoded(request.output), strict=True):
            turned = [np.rot90(plane, 3 if exif else 0) for plane in planes(before)]
            assert all(map(np.array_equal, turned, planes(after)))


def test_the_folder_and_both_notations_name_the_same_sequence(tmp_path: Path) -> None:
    write_pictures(tmp_path / "plates", "png", "rgb24", ".png", 3)
    found = [sequence_of(tmp_path / name) for name in ("plates", "plates/sh010.####.png", "plates/sh010.%04d.png")]
    assert found[0] == found[1] == found[2]
    assert found[0] is not None
    assert (found[0].first, found[0].frames, len({entry.sha256() for entry in found if entry})) == (1001, 3, 1)
    assert quick_index(tmp_path / "plates", rate=RATE).frames == 3


def test_a_name_that_is_not_quite_a_sequences_is_told_what_to_write(tmp_path: Path) -> None:
    write_pictures(tmp_path, "png", "rgb24", ".png", frames=2)
    with pytest.raises(SourceError, match=r"zz\.####\.png: no picture is called so; there are sh010\.####\.png$"):
        sequence_of(tmp_path / "zz.####.png")
    with pytest.raises(SourceError, match=r"one picture, not a video\. For the sequence .* write sh010\.####\.png$"):
        quick_index(tmp_path / "sh010.1002.png")
    (tmp_path / "sh020.1001.png").touch()
    with pytest.raises(SourceError, match=r"2 sequences .* name one of them: sh010\.####\.png, sh020\.####\.png$"):
        sequence_of(tmp_path)
    with pytest.raises(SourceError, match="no numbered picture is there at all"):
        sequence_of(tmp_path / "none" / "a.####.png")


def test_what_is_not_a_whole_sequence_with_a_rate_is_refused(tmp_path: Path) -> None:
    pictures = tmp_path / "plates"
    write_pictures(pictures, "png", "rgb24", ".png")
    with pytest.raises(SourceError, match="column rate"):
        index_source(pictures, unheard)
    (pictures / "sh010.1003.png").unlink()
    with pytest.raises(SourceError, match="picture 1003 is missing"):
        sequence_of(pictures)
    (pictures / "sh020.0001.png").touch()
    with pytest.raises(SourceError, match="2 sequences"):
        sequence_of(pictures)
    (tmp_path / "light").mkdir()
    (tmp_path / "light" / "a.0001.exr").touch()
    with pytest.raises(SourceError, match="EXR pictures hold light"):
        sequence_of(tmp_path / "light")


@pytest.mark.parametrize(("pixel_format", "depth"), [("rgb24", 8), ("rgb48be", 16)])
def test_pictures_are_delivered_as_an_archive_from_1001_on(tmp_path: Path, pixel_format: str, depth: int) -> None:
    written = write_pictures(tmp_path / "plates", "png", pixel_format, ".png")
    request = delivered(tmp_path / "plates", tmp_path, "png_sequence", "sh010_v003.zip")
    with zipfile.ZipFile(request.output) as archive:
        assert archive.namelist() == [f"sh010_v003.{1001 + number}.png" for number in range(6)]
        archive.extractall(tmp_path / "again")
    again = decoded_pictures(tmp_path / "again" / "sh010_v003.%04d.png")
    for before, after in zip(written, again, strict=True):
        assert after.format.name == pixel_format
        assert all(map(np.array_equal, planes(planar(before)), planes(planar(after))))
    assert sorted(path.name for path in tmp_path.iterdir() if "sh010_v003" in path.name) == [
        "sh010_v003.zip",
        "sh010_v003.zip.marks",
    ]


def decoded_pictures(pattern: Path) -> list[av.VideoFrame]:
    with av.open(str(pattern), format="image2", options={"start_number": "1001"}) as container:
        return list(container.decode(video=0))
