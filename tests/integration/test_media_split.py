"""Splitting real files: every chunk holds its own frames, whatever the source's times."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edits.errors import OutputError, SourceError
from edits.media.chunkfile import read_chunk
from edits.media.index import index_source
from edits.media.records import SplitChunk, SplitRequest
from edits.media.split import split
from tests.fakes.footage import constant, variable, write_footage

MKV = Fraction(1, 1000)
SIZE = (80, 48)


def unheard(done: int, total: int) -> None:
    """Progress that nobody listens to."""


def request(source: Path, chunks: list[tuple[int, int, int]], folder: Path) -> SplitRequest:
    parts = tuple(SplitChunk(*chunk, str(folder / f"{number}.mkv")) for number, chunk in enumerate(chunks))
    return SplitRequest(str(source), index_source(source, unheard), parts, *SIZE, "squeeze")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """40 frames with gaps of 1 to 7 frames, delayed start."""
    return write_footage(tmp_path / "source.mkv", [320 + value for value in variable(40, 40)], MKV)


def test_overlapping_chunks_hold_the_same_frames_where_they_overlap(source: Path, tmp_path: Path) -> None:
    asked = request(source, [(0, 17, 0), (12, 29, 0), (24, 40, 1)], tmp_path)
    records = split(asked, unheard)
    first, second, third = (read_chunk(Path(chunk.path)) for chunk in asked.chunks)
    assert np.array_equal(first[12:], second[:5])
    assert np.array_equal(second[12:], third[:5])
    assert [record.frames for record in records] == [17, 17, 17]


def test_padding_repeats_the_last_frame(source: Path, tmp_path: Path) -> None:
    asked = request(source, [(30, 40, 3)], tmp_path)
    split(asked, unheard)
    frames = read_chunk(Path(asked.chunks[0].path))
    assert len(frames) == 13
    assert all(np.array_equal(frames[9], padded) for padded in frames[10:])


def test_a_chunk_split_alone_is_the_same_file_as_split_with_others(source: Path, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    together = split(request(source, [(0, 17, 0), (12, 29, 0)], tmp_path), unheard)
    alone = split(request(source, [(12, 29, 0)], tmp_path / "alone"), unheard)
    assert alone[0] == together[1]


def test_records_describe_the_files_in_the_order_asked_for(source: Path, tmp_path: Path) -> None:
    asked = request(source, [(24, 40, 1), (0, 17, 0)], tmp_path)
    for chunk, record in zip(asked.chunks, split(asked, unheard), strict=True):
        data = Path(chunk.path).read_bytes()
        assert (record.sha256, record.size) == (hashlib.sha256(data).hexdigest(), len(data))
        assert (record.width, record.height, record.input_key) == (*SIZE, "")


@pytest.mark.parametrize(
    ("pixel_format", "tags"),
    [("yuv420p", (1, 1, 1, 1)), ("yuv444p", (6, 6, 6, 1)), ("yuv422p10le", (1, 1, 1, 1)), ("yuv420p", (5, 5, 6, 2))],
)
def test_flat_colour_arrives_as_its_own_rgb(tmp_path: Path, pixel_format: str, tags: tuple[int, ...]) -> None:
    """FFV1 of one colour, (200, 60, 30) by the file's own matrix and range: at most one level off."""
    import av

    from edits.media.colour import Tags, interpretation, rgb_to_yuv
    from edits.media.formats import FORMATS, new_frame

    form = FORMATS[pixel_format]
    affine = rgb_to_yuv(interpretation(Tags(*tags), 48, "flat"), form.depth)
    codes = np.rint(affine[:, :3] @ np.array([200, 60, 30]) + affine[:, 3])
    path = tmp_path / "flat.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixel_format
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = tags
        frame, targets = new_frame(form, 64, 48)
        for target, code in zip(targets, codes, strict=True):
            target[:] = int(code)
        for number in range(2):
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    asked = request(path, [(0, 2, 0)], tmp_path)
    split(asked, unheard)
    frames = read_chunk(Path(asked.chunks[0].path)).astype(int)
    assert np.abs(frames - (200, 60, 30)).max() <= 1


def test_a_source_that_changed_since_it_was_indexed_is_refused(source: Path, tmp_path: Path) -> None:
    asked = request(source, [(0, 17, 0)], tmp_path)
    write_footage(source, constant(40, 40), MKV)
    with pytest.raises(SourceError, match="frame 0 is not the one that was indexed"):
        split(asked, unheard)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.mkv"]


def test_a_source_that_lost_frames_is_refused(source: Path, tmp_path: Path) -> None:
    asked = request(source, [(30, 40, 0)], tmp_path)
    longer = replace(asked.index, pts=(*asked.index.pts, asked.index.pts[-1] + 40))
    with pytest.raises(SourceError, match="has 40 frames, 41 were indexed"):
        split(replace(asked, index=longer, chunks=(SplitChunk(30, 41, 0, asked.chunks[0].path),)), unheard)


def test_an_unknown_fit_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'crop' is not known"):
        split(replace(request(source, [(0, 17, 0)], tmp_path), fit="crop"), unheard)


def test_a_folder_that_is_not_there_is_an_output_error(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        split(request(source, [(0, 17, 0)], tmp_path / "missing"), unheard)
