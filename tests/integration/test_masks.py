"""Masks that rows give are looked at before anything is edited."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tasks.forecast import RowForecast, forecast
from tasks.intake import read_order
from tasks.run import open_run
from tests.fakes.clips import write_clip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masks")
    for name, frames in (("clip.mp4", 24), ("equal.mp4", 24), ("short.mp4", 20)):
        write_clip(folder / name, frames=frames, audio=False)
    cv2.imwrite(str(folder / "good.png"), np.full((9, 16), 255, np.uint8))
    cv2.imwrite(str(folder / "large.png"), np.zeros((200, 400), np.uint8))
    (folder / "text.png").write_text("a mask\n")
    (folder / "text.mov").write_text("a mask\n")
    return folder


def planned(folder: Path, mask: str) -> RowForecast:
    manifest = f"source,instruction,editor,mask\nclip.mp4,turn it sepia,grade,{mask}\n".encode()
    with open_run((folder,), max_pixels=50_000) as run:
        return forecast(run, read_order(run, manifest, "masks.csv", folder), quick=False).rows[0]


@pytest.mark.parametrize("mask", ["good.png", "equal.mp4"])
def test_a_mask_that_fits_is_planned_with(clips: Path, monkeypatch: pytest.MonkeyPatch, mask: str) -> None:
    monkeypatch.chdir(clips)
    assert planned(clips, mask).chunks_missing == 1


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ("text.png", "not a picture that can be read"),
        ("text.mov", "not a video file"),
        ("gone.png", "No such file"),
        ("large.png", "400 x 200 pixels are more than the 50,000"),
        ("short.mp4", "the mask has 20 frames, the source 24"),
    ],
)
def test_a_mask_that_cannot_be_used_is_refused_while_planning(
    clips: Path, monkeypatch: pytest.MonkeyPatch, mask: str, said: str
) -> None:
    monkeypatch.chdir(clips)
    row = planned(clips, mask)
    assert said in row.error
    assert [(cell.column, Path(cell.value).name) for cell in row.errors] == [("mask", mask)]
    assert row.line == 2
