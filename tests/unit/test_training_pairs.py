"""Pairs on disk: every row once an epoch, steps of one kind, and what cannot be trained on named by row and file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sama_model.errors import WeightsError
from sama_model.training.data import BadExampleError, gathered
from sama_model.training.pairs import Columns, Pairs, read
from tests.fakes.clips import picture, write_clip

SIZE = (80, 48)
"""Half of the clips'."""

PLAIN = Columns()

Line = tuple[str, str, str]


def table(folder: Path, *lines: Line, names: Line = ("source", "target", "instruction")) -> Path:
    with (folder / "pairs.csv").open("w", newline="") as file:
        csv.writer(file).writerows([names, *lines])
    return folder / "pairs.csv"


def write_picture(path: Path, size: tuple[int, int] = (160, 96)) -> str:
    Image.fromarray(picture(0, size, ())).save(path)
    return path.name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, frames=7, audio=False)
    write_clip(tmp_path / "short.mp4", frames=4, audio=False)
    write_clip(tmp_path / "small.mp4", frames=7, size=(128, 96), audio=False)
    write_picture(tmp_path / "a.png")
    write_picture(tmp_path / "b.jpg")
    (tmp_path / "torn.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:300])
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile b.mp4\n")
    return tmp_path


def pairs(path: Path, batch: int = 2, columns: Columns = PLAIN, images: float = 0.5) -> Pairs:
    return read(path, SIZE, 5, batch, columns=columns, images=images)


def test_a_video_is_its_first_frames_at_the_working_size_and_a_picture_a_clip_of_one(folder: Path) -> None:
    found = pairs(table(folder, ("a.mp4", "b.mp4", "make it blue"), ("a.png", "b.jpg", "make it red")))
    clip, still = (found.example(number) for number in (0, 2))
    assert (clip.kind, clip.text, clip.source.shape, clip.target.shape) == (
        *("video", "make it blue"),
        *((5, 48, 80, 3), (5, 48, 80, 3)),
    )
    assert (still.kind, still.name, still.source.shape) == ("picture", "row 2", (1, 48, 80, 3))
    drawn = np.asarray(Image.fromarray(picture(4, (160, 96), ())).resize(SIZE, Image.Resampling.BICUBIC))
    off = np.abs(clip.source[4].astype(int) - drawn)
    assert off.mean() < 3, "BT.709, as the file says, and the fifth frame"


def test_a_step_is_of_one_kind_and_an_epoch_has_every_row_once(folder: Path) -> None:
    lines = [("a.mp4", "b.mp4", f"video {number}") for number in range(4)]
    lines += [("a.png", "b.jpg", f"picture {number}") for number in range(6)]
    found = pairs(table(folder, *lines), images=0.25)
    kinds = [{found.example(number).kind for number in (2 * step, 2 * step + 1)} for step in range(8)]
    assert kinds == [{"video"}, {"video"}, {"video"}, {"picture"}] * 2
    videos = [found.example(2 * step + place).text for step in (0, 1, 2, 4) for place in (0, 1)]
    assert sorted(videos[:4]) == sorted(videos[4:]) == [f"video {number}" for number in range(4)]
    assert videos[:4] != videos[4:]
    only = pairs(table(folder, *lines[4:]), images=0.25)
    assert {only.example(number).kind for number in range(6)} == {"picture"}


def test_columns_have_other_names_in_a_parquet_file(folder: Path) -> None:
    names = ("src_video", "edited_video", "prompt")
    columns = dict(zip(names, (["a.mp4"], ["b.mp4"], ["make it blue"]), strict=True))
    pq.write_table(pa.table({**columns, "score": [9]}), folder / "pairs.parquet")
    found = pairs(folder / "pairs.parquet", columns=Columns(*names))
    same = pairs(table(folder, ("a.mp4", "b.mp4", "make it blue"), names=names), columns=Columns(*names))
    assert np.array_equal(found.example(0).source, same.example(0).source)
    assert repr(found) != repr(same)
    assert str(folder) not in repr(found)


@pytest.mark.parametrize(
    ("source", "target", "text", "said"),
    [
        ("gone.mp4", "b.mp4", "go", r"row 1: gone\.mp4: No such file or directory"),
        ("a.mp4", "torn.mp4", "go", r"row 1: torn\.mp4: Invalid data found"),
        ("short.mp4", "b.mp4", "go", r"row 1: short\.mp4: 4 frames, 5 are wanted"),
        ("a.mp4", "small.mp4", "go", r"row 1: a\.mp4 and small\.mp4: pictures of two sizes, 160x96 and 128x96"),
        ("a.mp4", "b.jpg", "go", r"row 1: a\.mp4 and b\.jpg: one is a picture, the other a video"),
        ("a.mp4", "b.mp4", " ", r"row 1: a\.mp4: no instruction"),
        ("a.mp4", "list.mp4", "go", r"row 1: list\.mp4: not one of MP4, MOV"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_named(folder: Path, source: str, target: str, text: str, said: str) -> None:
    with pytest.raises(BadExampleError, match=said):
        pairs(table(folder, (source, target, text))).example(0)


def test_no_file_is_read_outside_the_allowed_folders_through_links_neither(folder: Path, tmp_path: Path) -> None:
    inside = tmp_path / "set"
    inside.mkdir()
    (inside / "link.mp4").symlink_to(folder / "a.mp4")
    write_clip(inside / "b.mp4", frames=7, audio=False)
    for source in ("link.mp4", "../a.mp4", str(folder / "a.mp4")):
        rows = table(inside, (source, "b.mp4", "go"), ("b.mp4", "b.mp4", "go"))
        step = gathered(read(rows, SIZE, 5, 2, allowed=(inside,)), range(2))
        assert [bad.reason for bad in step.bad] == [f"row 1: {source}: outside the allowed folders"]
    (tmp_path / "alias").symlink_to(inside)
    assert len(gathered(read(rows, SIZE, 5, 2, allowed=(tmp_path / "alias",)), range(2)).good) == 1
    with pytest.raises(WeightsError, match=r"pairs\.csv: outside the allowed folders; allow its folder with --allow"):
        read(rows, SIZE, 5, 2, allowed=(tmp_path / "other",))


def test_the_others_of_its_step_are_trained_on_and_it_is_counted(folder: Path) -> None:
    found = pairs(table(folder, ("a.mp4", "b.mp4", "go"), ("gone.mp4", "b.mp4", "go"), ("b.mp4", "a.mp4", "go")), 3)
    step = gathered(found, range(3))
    assert sorted(example.name for example in step.good) == ["row 1", "row 3"]
    (bad,) = step.bad
    assert bad.reason == "row 2: gone.mp4: No such file or directory"


def test_a_table_that_cannot_be_used_says_why(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"no column target, instruction; there are source, edited, prompt"):
        pairs(table(folder, names=("source", "edited", "prompt")))
    with pytest.raises(WeightsError, match="no rows"):
        pairs(table(folder))
    (folder / "pairs.parquet").write_bytes(b"no such thing")
    with pytest.raises(WeightsError, match="not a parquet file"):
        pairs(folder / "pairs.parquet")
    with pytest.raises(WeightsError, match="No such file"):
        pairs(folder / "gone.csv")
    with pytest.raises(WeightsError, match="frames is 4k"):
        read(folder / "pairs.csv", SIZE, 6, 2)
