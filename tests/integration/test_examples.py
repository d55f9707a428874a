"""The example clips are what the README promises: frames, times, cuts, sound, tags; and the same every time."""

from __future__ import annotations

import csv
import runpy
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from scenedetect import ContentDetector, detect

from sama_model.training.world.samples import drawn

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "draw_clip.py"


def load(**changes: object) -> dict[str, Any]:
    """The script's names, with some of its constants changed."""
    names = runpy.run_path(str(SCRIPT))
    names["draw_clip"].__globals__.update(changes)
    return names


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("example") / "clip.mp4"
    draw: Callable[[Path], None] = load()["draw_clip"]
    draw(path)
    return path


@pytest.mark.slow
def test_the_clip_has_288_frames_at_exact_times(clip: Path):
    with av.open(str(clip)) as container:
        video = container.streams.video[0]
        assert (video.width, video.height, video.codec.name, video.pix_fmt) == (640, 360, "h264", "yuv420p")
        assert video.average_rate == Fraction(24000, 1001)
        times = [frame.pts * frame.time_base for frame in container.decode(video)]
    assert times == [Fraction(1001 * number, 24000) for number in range(288)]


@pytest.mark.slow
def test_the_clip_is_tagged_bt709(clip: Path):
    with av.open(str(clip)) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_range) == (Colorspace.ITU709, ColorRange.MPEG)
    assert (frame.color_primaries, frame.color_trc) == (ColorPrimaries.BT709, ColorTrc.BT709)


@pytest.mark.slow
def test_the_clip_has_two_cuts_that_the_detector_finds(clip: Path):
    shots = detect(str(clip), ContentDetector())
    starts = [start.seconds for start, _ in shots]
    assert starts == pytest.approx([0, 104 * 1001 / 24000, 192 * 1001 / 24000], abs=1e-5)


@pytest.mark.slow
def test_the_clip_has_sound_as_long_as_its_picture(clip: Path):
    with av.open(str(clip)) as container:
        audio = container.streams.audio[0]
        assert (audio.codec.name, audio.rate, audio.layout.name) == ("aac", 48000, "stereo")
        assert audio.duration is not None
        assert audio.duration * audio.time_base == Fraction(288 * 1001, 24000)
        loudest = max(abs(frame.to_ndarray()).max() for frame in container.decode(audio))
    assert 0.2 < loudest < 1


def test_drawing_twice_gives_the_same_bytes(tmp_path: Path):
    for name in ("a.mp4", "b.mp4"):
        load(SHOT_FRAMES=(2, 1, 2))["draw_clip"](tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_no_two_frames_of_a_shot_are_alike():
    pictures = list(load(SHOT_FRAMES=(2, 2, 2))["pictures"]())
    assert len(pictures) == 6
    assert all((first != second).mean() > 0.1 for first, second in pairwise(pictures))


# -- the drawn world --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT.with_name("draw_world.py")))


def test_the_world_clip_is_three_held_out_scenes_enlarged(world: dict[str, Any], tmp_path: Path):
    world["draw_world"](tmp_path / "world.mp4")
    with av.open(str(tmp_path / "world.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 12
    assert len(frames) == 87
    small = np.stack([cv2.resize(frame, (56, 32), interpolation=cv2.INTER_AREA) for frame in frames])
    scenes = np.concatenate([drawn(world["plan"](shot), world["RULES"]).source for shot in range(3)])
    assert np.abs(small.astype(int) - scenes).mean() < 4, "levels: the enlarging and the encoder"


def test_the_manifest_asks_what_the_held_out_samples_ask(world: dict[str, Any]):
    with SCRIPT.with_name("demo.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "world.mp4"]
    asked = [(row["start"], row["end"], row["instruction"]) for row in rows]
    edits = ((0, "background"), (1, "restyle"), (2, "remove"), (2, "recolour"))
    plans = [(shot, world["plan"](shot, kind)) for shot, kind in edits]
    assert asked == [(f"f{29 * shot}", f"f{29 * shot + 29}", plan.instruction) for shot, plan in plans]
    assert all(plan.source == world["plan"](shot).source for shot, plan in plans)
