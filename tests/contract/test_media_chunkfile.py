"""Chunk files of both depths: what goes in comes out, equal frames are equal files, damage is an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from edits.errors import OutputError, VerificationError
from edits.media.chunkfile import ChunkReader, ChunkWriter, read_chunk, write_chunk

DTYPES = [np.uint8, np.uint16]


def clip(dtype: type, frames: int = 9, size: tuple[int, int] = (50, 34)) -> np.ndarray:
    """Noise: nothing that a codec could guess."""
    shape = (frames, size[1], size[0], 3)
    return np.random.default_rng(5).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(50, 34), (51, 33), (16, 16), (160, 96)])
def test_a_clip_comes_back_bit_for_bit(tmp_path: Path, dtype: type, size: tuple[int, int]) -> None:
    frames = clip(dtype, size=size)
    write_chunk(tmp_path / "chunk.mov", frames)
    found = read_chunk(tmp_path / "chunk.mov")
    assert found.dtype == dtype
    assert np.array_equal(found, frames)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_clip_that_hardly_changes_comes_back_bit_for_bit(tmp_path: Path, dtype: type) -> None:
    frames = np.repeat(clip(dtype, frames=1), 21, axis=0)
    frames[10:, 5:9, 5:9] += 1
    write_chunk(tmp_path / "chunk.mov", frames)
    assert np.array_equal(read_chunk(tmp_path / "chunk.mov"), frames)


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_frames_make_equal_files(tmp_path: Path, dtype: type) -> None:
    for name in ("first.mov", "second.mov"):
        write_chunk(tmp_path / name, clip(dtype))
    assert (tmp_path / "first.mov").read_bytes() == (tmp_path / "second.mov").read_bytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_frames_are_counted_without_decoding(tmp_path: Path, dtype: type) -> None:
    write_chunk(tmp_path / "chunk.mov", clip(dtype, frames=13))
    with ChunkReader(tmp_path / "chunk.mov") as reader:
        assert reader.count() == 13
    with ChunkReader(tmp_path / "chunk.mov") as reader:
        next(reader.frames())
        assert reader.count() == 13


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_file_cut_short_is_never_taken_for_the_clip(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "chunk.mov"
    write_chunk(path, clip(dtype))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(VerificationError, match="cut short"):
        read_chunk(path)


def test_what_is_no_chunk_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "chunk.mov"
    path.write_text("not a video")
    with pytest.raises(VerificationError, match=r"chunk\.mov: not a chunk file"):
        read_chunk(path)


@pytest.mark.parametrize(
    "frames", [np.zeros((0, 8, 8, 3), np.uint8), np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 3), np.float32)]
)
def test_other_shapes_and_types_are_refused_before_a_file_appears(tmp_path: Path, frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="a clip is"):
        write_chunk(tmp_path / "chunk.mov", frames)
    assert list(tmp_path.iterdir()) == []


def test_an_abandoned_file_leaves_nothing_behind(tmp_path: Path) -> None:
    writer = ChunkWriter(tmp_path / "chunk.mov", 16, 16)
    writer.write(np.zeros((16, 16, 3), np.uint8))
    writer.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_chunk(tmp_path / "missing" / "chunk.mov", clip(np.uint8))


def older(path: Path, frames: np.ndarray) -> None:
    """A chunk file as it was written before: Matroska, lossless H.264, a key frame each 16."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", 25, {"qp": "0", "preset": "ultrafast", "g": "16"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "rgb24"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


KINDS = [older, write_chunk]


@pytest.mark.parametrize("write", KINDS)
@pytest.mark.parametrize("first", [0, 4, 16, 19, 40])
def test_frames_are_read_from_any_on(tmp_path: Path, write: Callable[..., None], first: int) -> None:
    frames = clip(np.uint8, frames=37)
    write(tmp_path / "chunk.mkv", frames)
    with ChunkReader(tmp_path / "chunk.mkv", threads=1) as reader:
        found = list(reader.frames(first))
        assert reader.count() == 37
    assert np.array_equal(found, list(frames[first:]))


@pytest.mark.parametrize("write", KINDS)
def test_ranges_are_read_one_after_another(tmp_path: Path, write: Callable[..., None]) -> None:
    frames = clip(np.uint8, frames=37)
    write(tmp_path / "chunk.mkv", frames)
    with ChunkReader(tmp_path / "chunk.mkv", threads=1) as reader:
        for wanted in (range(4, 8), range(20, 24), range(16, 17), range(35, 40)):
            found = dict(reader.frames_in(wanted))
            assert list(found) == [number for number in wanted if number < 37]
            assert all(np.array_equal(frame, frames[number]) for number, frame in found.items())
