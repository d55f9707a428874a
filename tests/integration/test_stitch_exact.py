"""Stitching: what was not edited comes back bit for bit and in time, what was edited lands where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from edits.errors import SourceError, VerificationError
from edits.media.chunkfile import read_chunk, write_chunk
from edits.media.formats import planes
from edits.media.index import index_source
from edits.media.levels import MAX_OFFSET
from edits.media.maskfile import mask_path
from edits.media.records import GivenMask, StitchRequest
from edits.media.split import split
from edits.media.still import after_name, before_name
from edits.media.verify import verify
from edits.stitch import stitch
from tasks.seams import measured
from tests.fakes.footage import (
    constant,
    decoded,
    requests,
    same_frames,
    sound_bytes,
    times,
    variable,
    write_footage,
)

MP4, MKV = Fraction(1, 12800), Fraction(1, 1000)
Edit = Callable[[int, np.ndarray], np.ndarray]


def unheard(done: int, total: int) -> None:
    """Progress that nobody listens to."""


def untouched(number: int, frames: np.ndarray) -> np.ndarray:
    return frames


def prepared(source: Path, folder: Path, output: str, edit: Edit = untouched, **asked: object) -> StitchRequest:
    """Index and split `source`, write an output for every chunk; `edit` gets the chunk's number and frames."""
    folder.mkdir(exist_ok=True)
    parts, request = requests(source, index_source(source, unheard), folder, output, **asked)  # type: ignore[arg-type]
    split(parts, unheard)
    for number, chunk in enumerate(request.chunks):
        write_chunk(Path(chunk.output), edit(number, read_chunk(Path(chunk.input))))
    return request


def stitched(source: Path, folder: Path, output: str, edit: Edit = untouched, **asked: object) -> StitchRequest:
    request = prepared(source, folder, output, edit, **asked)
    stitch(request, unheard)
    return request


# -- untouched --------------------------------------------------------------------------------------------------------

SOURCES = {
    "variable mp4": ("vfr.mp4", "vfr.mov", {"pts": variable(40, 512), "time_base": MP4, "audio": "aac"}),
    "variable mkv": ("vfr.mkv", "out.mkv", {"pts": variable(40, 40), "time_base": MKV, "audio": "aac"}),
    "film mp4": ("film.mp4", "out.mov", {"pts": constant(45, 1001), "time_base": Fraction(1, 24000), "audio": "aac"}),
    "film mkv": (
        "film.mkv", "out.mkv",
        {"pts": [round(Fraction(1001 * n, 24)) for n in range(45)], "time_base": MKV, "cuts": (19,)},
    ),
    "delayed": ("late.mp4", "out.mkv", {"pts": constant(30, 512, 6400), "time_base": MP4, "audio": "aac"}),
    "odd size": (
        "odd.mkv", "out.mkv", {"pts": constant(20, 40), "time_base": MKV, "size": (161, 97), "codec": "ffv1"},
    ),
    "ten bits": (
        "deep.mov", "out.mov",
        {"pts": constant(20, 512), "time_base": MP4, "pixel_format": "yuv422p10le", "codec": "prores_ks",
         "audio": "pcm_s24le"},
    ),
    "full range": ("full.mp4", "out.mkv", {"pts": constant(20, 512), "time_base": MP4, "tags": (1, 1, 1, 2)}),
    "one frame of 4:4:4": (
        "one.mkv", "out.mkv",
        {"pts": constant(2, 40), "time_base": MKV, "pixel_format": "yuv444p", "codec": "ffv1"},
    ),
}  # fmt: skip
"""Name -> source file, deliverable, how it is drawn."""


@pytest.mark.parametrize("kind", SOURCES)
def test_an_untouched_source_comes_back_bit_for_bit_and_in_time(tmp_path: Path, kind: str) -> None:
    name, output, drawn = SOURCES[kind]
    source = write_footage(tmp_path / name, **drawn)  # type: ignore[arg-type]
    request = stitched(source, tmp_path / "work", output)
    assert same_frames(source, request.output)
    assert sound_bytes(request.output) == sound_bytes(source)
    assert verify(request, unheard).passed


def test_an_edit_that_writes_equal_frames_into_another_file_changes_nothing(tmp_path: Path) -> None:
    """Decoded and subtracted this time: the files differ, the frames do not."""
    source = write_footage(tmp_path / "source.mkv", constant(30, 40), MKV)

    def as_sixteen_bits(number: int, frames: np.ndarray) -> np.ndarray:
        return frames.astype(np.uint16) * 257

    request = stitched(source, tmp_path / "work", "out.mkv", as_sixteen_bits)
    assert same_frames(source, request.output)


def test_a_range_is_its_own_frames_from_zero(tmp_path: Path) -> None:
    source = write_footage(tmp_path / "source.mkv", variable(40, 40), MKV)
    request = stitched(source, tmp_path / "work", "out.mkv", start=11, end=33)
    assert same_frames(source, request.output, 11, 33)
    assert times(request.output)[0] == 0
    assert verify(request, unheard).passed


# -- sound of a range -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "base", "tick"), [(".mov", MP4, 512), (".mkv", MKV, 40)])
def test_pcm_of_a_range_is_cut_to_the_sample(tmp_path: Path, suffix: str, base: Fraction, tick: int) -> None:
    """Frames 7 to 30 of 25 a second at 48 kHz: samples 13440 to 57600 of four bytes."""
    source = write_footage(tmp_path / f"source{suffix}", constant(40, tick), base, audio="pcm_s16le")
    request = stitched(source, tmp_path / "work", f"out{suffix}", start=7, end=30)
    (whole,), (part,) = sound_bytes(source), sound_bytes(request.output)
    assert part == whole[13440 * 4 : 57600 * 4]
    assert verify(request, unheard).passed


@pytest.mark.parametrize(("name", "output"), [("source.mp4", "out.mov"), ("source.mkv", "out.mkv")])
def test_coded_sound_of_a_range_is_the_packets_that_cover_it(tmp_path: Path, name: str, output: str) -> None:
    base, tick = (MKV, 40) if name.endswith("mkv") else (MP4, 512)
    source = write_footage(tmp_path / name, constant(50, tick), base, audio="aac")
    request = stitched(source, tmp_path / "work", output, start=10, end=35)
    (whole,), (part,) = sound_bytes(source), sound_bytes(request.output)
    assert part in whole
    assert 0.4 < len(part) / len(whole) < 0.6
    assert verify(request, unheard).passed


# -- edited -----------------------------------------------------------------------------------------------------------


def lighter(number: int, frames: np.ndarray) -> np.ndarray:
    """Ten levels up in even chunks, thirty in odd ones: where chunks meet can be seen in the luma."""
    return frames + np.uint8(10 if number % 2 == 0 else 30)


def lifts(source: Path, request: StitchRequest) -> list[float]:
    """Mean change of luma of each frame."""
    pairs = zip(decoded(source)[request.start :], decoded(request.output), strict=False)
    return [float(np.mean(planes(after)[0].astype(int) - planes(before)[0])) for before, after in pairs]


@pytest.mark.parametrize("detail", ["full", "upscale"])
def test_overlaps_are_blended_after_the_lead_and_cuts_are_not(tmp_path: Path, detail: str) -> None:
    """Shots 0-28 and 29-47; chunks 0-16, 12-28 and, after the cut, 29-45, 41-47: blend of 1 frame after a lead of 4."""
    source = write_footage(tmp_path / "source.mkv", constant(48, 40), MKV, cuts=(29,))
    request = prepared(source, tmp_path / "work", "out.mkv", lighter, detail=detail)
    assert [(chunk.start, chunk.end) for chunk in request.chunks] == [(0, 17), (12, 29), (29, 46), (41, 48)]
    stitch(request, unheard)
    found = lifts(source, request)
    low, high = 10 * 219 / 255, (30 - MAX_OFFSET) * 219 / 255
    expected = [low] * 16 + [(low + high) / 2] + [high] * 12 + [low] * 16 + [(low + high) / 2] + [high] * 2
    assert found == pytest.approx(expected, abs=0.8)


def test_a_change_in_one_corner_leaves_the_rest_bit_for_bit(tmp_path: Path) -> None:
    source = write_footage(tmp_path / "source.mkv", constant(20, 40), MKV)

    def corner(number: int, frames: np.ndarray) -> np.ndarray:
        changed = frames.copy()
        changed[:, :12, :20] = 255 - changed[:, :12, :20]
        return changed

    request = stitched(source, tmp_path / "work", "out.mkv", corner)
    for before, after in zip(decoded(source), decoded(request.output), strict=True):
        first, second = planes(before)[0], planes(after)[0]
        assert np.array_equal(first[:, 120:], second[:, 120:])
        assert np.array_equal(first[84:], second[84:])
        assert not np.array_equal(first[:20, :36], second[:20, :36])


def test_the_stored_input_decides_when_it_is_not_what_the_source_gives_today(tmp_path: Path) -> None:
    """Input and output were made by another resampler: they are equal, so nothing was edited."""
    source = write_footage(tmp_path / "source.mkv", constant(20, 40), MKV)
    request = prepared(source, tmp_path / "work", "out.mkv")
    for chunk in request.chunks:
        older = np.minimum(read_chunk(Path(chunk.input)), 250) + np.uint8(3)
        write_chunk(Path(chunk.input), older)
        write_chunk(Path(chunk.output), older.astype(np.uint16) * 257)
    stitch(request, unheard)
    assert same_frames(source, request.output)


def test_progress_counts_the_frames_of_the_range(tmp_path: Path) -> None:
    source = write_footage(tmp_path / "source.mkv", constant(20, 40), MKV)
    seen: list[tuple[int, int]] = []
    stitch(prepared(source, tmp_path / "work", "out.mkv", start=3, end=15), lambda *step: seen.append(step))
    assert seen == [(number, 12) for number in range(1, 13)]


def test_pictures_for_the_report_show_a_frame_before_and_after(tmp_path: Path) -> None:
    """Pixels 4:3, so that 160 x 96 is shown as 80 x 36; the edit turns black what was not."""
    source = write_footage(tmp_path / "source.mp4", constant(20, 512), MP4, aspect=Fraction(4, 3))
    request = prepared(source, tmp_path / "work", "out.mov", lambda number, frames: frames * 0, start=2)
    stitch(replace(request, pictures=(7,), picture_width=80), unheard)
    before, after = (
        cv2.imdecode(np.frombuffer((tmp_path / "work" / name).read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        for name in (before_name(7), after_name(7))
    )
    expected = cv2.resize(decoded(source)[7].to_ndarray(format="bgr24"), (80, 36), interpolation=cv2.INTER_AREA)
    assert before.shape == (36, 80, 3)
    assert np.abs(before.astype(int) - expected).mean() < 8
    assert after.mean() < 12


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.fixture
def request_of_two(tmp_path: Path) -> StitchRequest:
    source = write_footage(tmp_path / "source.mkv", constant(29, 40), MKV)
    return prepared(source, tmp_path / "work", "out.mkv", lighter)


def left_over(request: StitchRequest) -> list[str]:
    folder = Path(request.output).parent
    return [path.name for path in folder.iterdir() if "put.mov" not in path.name]


def test_a_missing_chunk_is_named_before_anything_is_written(request_of_two: StitchRequest) -> None:
    Path(request_of_two.chunks[1].output).unlink()
    with pytest.raises(VerificationError, match=r"1\.output\.mov: not there, and frames 12 to 28 need it"):
        stitch(request_of_two, unheard)
    assert left_over(request_of_two) == []


@pytest.mark.parametrize("frames", [16, 18])
@pytest.mark.parametrize("place", [0, 1])
def test_a_chunk_of_another_length_is_refused(request_of_two: StitchRequest, place: int, frames: int) -> None:
    path = Path(request_of_two.chunks[place].output)
    whole = read_chunk(path)
    write_chunk(path, np.concatenate([whole, whole])[:frames])
    with pytest.raises(VerificationError, match=f"holds {frames} frames, 17 were planned"):
        stitch(request_of_two, unheard)
    assert left_over(request_of_two) == []


def test_a_chunk_of_another_size_is_refused(request_of_two: StitchRequest) -> None:
    path = Path(request_of_two.chunks[0].output)
    write_chunk(path, read_chunk(path)[:, :-2])
    with pytest.raises(VerificationError, match="its pictures are 80 x 46, those of its input 80 x 48"):
        stitch(request_of_two, unheard)


def test_a_damaged_chunk_is_refused(request_of_two: StitchRequest) -> None:
    path = Path(request_of_two.chunks[1].output)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VerificationError, match="cut short"):
        stitch(request_of_two, unheard)
    assert left_over(request_of_two) == []


def test_a_gap_in_coverage_is_refused(request_of_two: StitchRequest) -> None:
    with pytest.raises(VerificationError, match="end at frame 17, the range at 29"):
        stitch(replace(request_of_two, chunks=request_of_two.chunks[:1]), unheard)


def test_a_source_that_changed_is_refused(request_of_two: StitchRequest) -> None:
    write_footage(Path(request_of_two.source), constant(29, 41), MKV)
    with pytest.raises(SourceError, match="frame 1 is not the one that was indexed"):
        stitch(request_of_two, unheard)
    assert left_over(request_of_two) == []


def test_an_unknown_detail_is_refused(request_of_two: StitchRequest) -> None:
    with pytest.raises(ValueError, match="'half' is not known"):
        stitch(replace(request_of_two, detail="half"), unheard)


def test_what_is_left_of_the_overlap_after_the_blend_is_dropped(request_of_two: StitchRequest) -> None:
    """With a lead of 0 and a blend of 1, frame 12 is mixed and 13 on are the second chunk's alone."""
    later = replace(request_of_two.chunks[1], lead=0)
    stitch(replace(request_of_two, chunks=(request_of_two.chunks[0], later), blend=1), unheard)
    found = lifts(Path(request_of_two.source), request_of_two)
    low, high = 10 * 219 / 255, (30 - MAX_OFFSET) * 219 / 255
    assert found == pytest.approx([low] * 12 + [(low + high) / 2] + [high] * 16, abs=0.8)


def test_seams_are_measured_and_masks_kept_beside_the_deliverable(request_of_two: StitchRequest) -> None:
    stitch(request_of_two, unheard)
    found = measured(request_of_two)
    assert found.count == len(found.seams) == 1
    assert (found.seams[0].frame, found.seams[0].frames) == (16, 2)
    masks = decoded(mask_path(request_of_two.output))
    assert len(masks) == 29
    lifted = [float(planes(mask)[0].mean()) for mask in masks]
    assert max(lifted[:10]) == 0, "ten levels everywhere are tone"
    assert min(lifted[-5:]) > 200, "twenty-four are an edit"


@pytest.mark.parametrize("kind", ["picture", "video"])
def test_a_given_mask_says_where_the_edit_is_wanted(request_of_two: StitchRequest, tmp_path: Path, kind: str) -> None:
    """White on the left: there the edit, on the right the source, although the model changed all of it."""
    white = np.zeros((96, 160), np.uint8)
    white[:, :70] = 255
    path = tmp_path / ("mask.png" if kind == "picture" else "mask.mkv")
    if kind == "picture":
        cv2.imwrite(str(path), white)
    else:
        write_grey(path, white, request_of_two.end)
    index = None if kind == "picture" else index_source(path, unheard)
    stitch(replace(request_of_two, mask=GivenMask(str(path), index), detail="full"), unheard)
    found = [planes(frame)[0].astype(int) for frame in decoded(request_of_two.output)]
    for before, after in zip(decoded(request_of_two.source), found, strict=True):
        lifted = after - planes(before)[0]
        assert lifted[:, :56].mean() > 7
        assert np.all(lifted[:, 110:] == 0)


def write_grey(path: Path, picture: np.ndarray, frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for _ in range(frames):
            frame = av.VideoFrame.from_ndarray(np.repeat(picture[..., None], 3, axis=-1), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode())


def test_a_kept_mask_can_be_given_again(request_of_two: StitchRequest, tmp_path: Path) -> None:
    stitch(request_of_two, unheard)
    kept = mask_path(request_of_two.output).rename(tmp_path / "kept.mkv")
    given = GivenMask(str(kept), index_source(kept, unheard))
    second = replace(request_of_two, output=str(tmp_path / "work" / "second.mkv"), mask=given)
    stitch(second, unheard)
    pairs = zip(decoded(request_of_two.output), decoded(second.output), strict=True)
    for one, other in list(pairs)[22:]:  # Before, the edit is a change of light: outside a mask that was given.
        assert np.abs(planes(one)[0].astype(int) - planes(other)[0]).max() <= 1


def test_two_runs_make_the_same_file(request_of_two: StitchRequest, tmp_path: Path) -> None:
    second = replace(request_of_two, output=str(tmp_path / "second.mkv"))
    stitch(request_of_two, unheard)
    stitch(second, unheard)
    assert Path(request_of_two.output).read_bytes() == Path(second.output).read_bytes()
