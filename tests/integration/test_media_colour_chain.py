"""Flat colours through the whole chain: each matrix, range and depth, into each deliverable, in its own code values."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from edits.media.chunkfile import read_chunk, write_chunk
from edits.media.colour import rgb_to_yuv, tags_of, yuv_to_rgb
from edits.media.deliverables import DELIVERABLES, deliverable_for, writable_suffixes
from edits.media.formats import new_frame, pixel_format, planar, planes, stored_format
from edits.media.index import index_source
from edits.media.pictures import unpack
from edits.media.records import Colour
from edits.media.split import split
from edits.media.verify import verify
from edits.stitch import stitch
from sama_model.editors import load
from sama_model.editors.base import EditRequest, unused_progress
from tests.fakes.footage import decoded, decoding, requests

COLOURS = np.array(
    [(255, 255, 255), (0, 0, 0), (128, 128, 128), (255, 0, 0), (0, 255, 0), (0, 0, 255), (196, 144, 120), (40, 90, 160)]
)
SIZE = (256, 144)
"""Eight patches of 64 x 72."""
SYSTEMS = {
    "BT.601": ("smpte170m", "smpte170m", "smpte170m"),
    "BT.709": ("bt709", "bt709", "bt709"),
    "BT.2020": ("bt2020nc", "bt2020", "bt2020-10"),
}
CASES = [(name, swing, depth) for name in SYSTEMS for swing in ("tv", "pc") for depth in (8, 10)]
LOSSLESS, LOSSY = 1.0, 2.0
"""Levels of the deliverable's depth."""


def unheard(done: int, total: int) -> None:
    """Progress that nobody listens to."""


def write_patches(path: Path, colour: Colour, depth: int) -> np.ndarray:
    """Two frames of 4:4:4 without loss; gives the patches' code values, (8, 3)."""
    form = pixel_format("yuv444p" if depth == 8 else f"yuv444p{depth}le", "test")
    affine = rgb_to_yuv(colour, depth)
    codes = np.clip(np.rint(COLOURS @ affine[:, :3].T + affine[:, 3]), 0, form.peak).astype(int)
    tags = tags_of(colour)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, form.name
        context = stream.codec_context
        context.colorspace, context.color_primaries = tags.matrix, tags.primaries
        context.color_trc, context.color_range = tags.transfer, tags.range
        for number in range(2):
            frame, targets = new_frame(form, *SIZE)
            for place, code in enumerate(codes):
                left, top = place % 4 * 64, place // 4 * 72
                for target, value in zip(targets, code, strict=True):
                    target[top : top + 72, left : left + 64] = value
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return codes


def patches_of(path: str) -> tuple[np.ndarray, int]:
    """((8, 3) code values of the patches' middles in the first frame, depth)"""
    frame = next(decoding(path)) if not path.endswith(".zip") else _first_picture(Path(path))
    form = pixel_format(stored_format(frame.format.name, "test").computed, "test")
    found = np.empty((8, 3))
    for place in range(8):
        for number, plane in enumerate(planes(planar(frame))[:3]):
            height, width = plane.shape
            top, left = place // 4 * height // 2, place % 4 * width // 4
            patch = plane[top + height // 6 : top + height // 3, left + width // 12 : left + width // 6]
            found[place, number] = patch.astype(float).mean()
    return found, form.depth


def _first_picture(archive: Path) -> av.VideoFrame:
    pictures = unpack(archive, archive.with_suffix(".d"))
    return next(decoding(pictures / f"{archive.stem}.1001.png"))


@pytest.mark.parametrize(("system", "swing", "depth"), CASES)
def test_flat_colours_reach_every_deliverable_as_its_tags_say(
    tmp_path: Path, system: str, swing: str, depth: int
) -> None:
    colour = Colour(*SYSTEMS[system], swing)
    source = tmp_path / "patches.mkv"
    codes = write_patches(source, colour, depth)
    index = index_source(source, unheard)
    assert (str(index.colour), index.colour.assumed) == (str(colour), ())
    parts, request = requests(source, index, tmp_path, "x.mkv")
    split(parts, unheard)
    for chunk in request.chunks:
        Path(chunk.output).write_bytes(Path(chunk.input).read_bytes())
    for name in DELIVERABLES:
        entry = deliverable_for(name, index)
        output = str(tmp_path / f"{name}{writable_suffixes(name, index)[0]}")
        asked = replace(request, deliverable=name, output=output)
        stitch(asked, unheard)
        assert [check for check in verify(asked, unheard).checks if not check.passed] == []
        found, deep = patches_of(output)
        decode, encode = yuv_to_rgb(colour, depth), rgb_to_yuv(entry.colour(index), deep)
        rgb = codes @ decode[:, :3].T + decode[:, 3]
        wanted = rgb @ encode[:, :3].T + encode[:, 3]
        if entry.colour(index).matrix == "gbr":  # Rounded codes of pure colours lie a little outside what RGB has.
            wanted = np.clip(wanted, 0, (1 << deep) - 1)
        error = np.abs(found - wanted).max() / (1 << entry.deeper)
        assert error <= (LOSSLESS if entry.lossless else LOSSY), (name, error)


@pytest.mark.parametrize("system", SYSTEMS)
def test_flat_colours_survive_the_editors_own_depth(tmp_path: Path, system: str) -> None:
    """`upscale`: nothing comes from the source, all of the picture went through the editor's RGB of 8 bits."""
    colour = Colour(*SYSTEMS[system], "tv")
    source = tmp_path / "patches.mkv"
    codes = write_patches(source, colour, 8)
    parts, request = requests(source, index_source(source, unheard), tmp_path, "x.mkv", detail="upscale", size=SIZE)
    split(parts, unheard)
    for chunk in request.chunks:
        Path(chunk.output).write_bytes(Path(chunk.input).read_bytes())
    stitch(request, unheard)
    assert np.abs(patches_of(request.output)[0] - codes).max() <= LOSSLESS


@pytest.mark.parametrize("detail", ["tone", "full"])
def test_a_graded_ten_bit_gradient_keeps_nine_hundred_levels(tmp_path: Path, detail: str) -> None:
    """Full-range grey made warmer by `grade`; `tone` lays the difference on the source's own codes, `full` enlarges the
    edited picture, to which what eight bits had rounded off is given back."""
    source = tmp_path / "gradient.mkv"
    with av.open(str(source), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 1024, 64, "yuv444p10le"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1
        context.color_range = 2
        for number in range(2):
            frame, targets = new_frame(pixel_format("yuv444p10le", "test"), 1024, 64)
            for target, values in zip(targets, (np.arange(1024), 512, 512), strict=True):
                target[:] = values
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    index = index_source(source, unheard)
    parts, request = requests(source, index, tmp_path, "x.mkv", size=(832, 480), detail=detail)
    split(parts, unheard)
    editor = load("grade", "builtin")
    for chunk in request.chunks:
        given = EditRequest(read_chunk(Path(chunk.input)), "make it warmer")
        write_chunk(Path(chunk.output), editor.edit(given, unused_progress))
    stitch(request, unheard)
    before, after = planes(decoded(source)[0]), planes(decoded(request.output)[0])
    assert not np.array_equal(before[1], after[1])
    assert len(np.unique(after[0])) >= 900
