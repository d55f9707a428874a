"""The whole chain over footage that nobody here made, and over truly variable timestamps."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.fakes.clips import picture
from tests.fakes.command import Folder

pytestmark = [pytest.mark.shared, pytest.mark.slow]

CLIPS = ("dog.mp4", "bunny_cuts.webm", "no_duration.webm", "pcm_1080p50.mov")
GAPS = (1, 3, 7, 2, 5, 1, 1, 6, 4, 2)
"""Frames of 1/30 s between neighbours."""


def write_variable(path: Path, frames: int = 90) -> Path:
    """A clip whose gaps are 1 to 7 thirtieths of a second, in an order that no constant rate explains."""
    base = Fraction(1, 30000) if path.suffix == ".mp4" else Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 320, 180, "yuv420p", base
        stream.options = {"preset": "veryfast", "bf": "2"}
        tick = 0
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, (320, 176), ()), format="rgb24").reformat(320, 180)
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            frame.pts, frame.time_base = round(Fraction(tick, 30) / base), base
            container.mux(stream.encode(frame))
            tick += GAPS[number % len(GAPS)]
        container.mux(stream.encode())
    return path


def times(path: Path) -> list[Fraction]:
    """Presentation times after the first, exact."""
    with av.open(str(path)) as container:
        found = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    return [time - found[0] for time in found]


def planes(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def sound(path: Path) -> list[list[bytes]]:
    """The packets of every audio stream."""
    with av.open(str(path)) as container:
        places = {stream.index: place for place, stream in enumerate(container.streams.audio)}
        found: list[list[bytes]] = [[] for _ in places]
        for packet in container.demux(*container.streams.audio) if places else ():
            if packet.size:
                found[places[packet.stream_index]].append(bytes(packet))
    return found


@pytest.fixture
def sources(shared: Path, tmp_path: Path) -> list[Path]:
    variable = [write_variable(tmp_path / f"variable{suffix}") for suffix in (".mp4", ".mkv")]
    return [*(shared / "clips" / name for name in CLIPS), *variable]


def test_frames_times_and_sound_of_real_clips_survive_grading(
    folder: Folder, shared: Path, sources: list[Path]
) -> None:
    folder.manifest(*({"source": source, "instruction": "turn it sepia", "editor": "grade"} for source in sources))
    summary = folder.edit(*allowed(sources), "--workers", "2")
    for source, row in zip(sources, summary["rows"], strict=True):
        result = Path(row["output"].removeprefix("file://"))
        assert times(result) == times(source), source.name
        assert sound(result) == sound(source), source.name


def test_passthrough_gives_every_real_clip_back_bit_for_bit(folder: Folder, sources: list[Path]) -> None:
    form = {"editor": "passthrough", "deliverable": "ffv1", "detail": "full", "instruction": "leave it"}
    folder.manifest(*({"source": source, **form} for source in sources))
    summary = folder.edit(*allowed(sources), "--workers", "2")
    for source, row in zip(sources, summary["rows"], strict=True):
        result = Path(row["output"].removeprefix("file://"))
        for number, (mine, theirs) in enumerate(zip(planes(result), planes(source), strict=True)):
            assert np.array_equal(mine, theirs), f"{source.name}, frame {number}"
        assert times(result) == times(source), source.name
        assert sound(result) == sound(source), source.name


def allowed(sources: list[Path]) -> list[str]:
    return [part for folder in {source.parent for source in sources} for part in ("--allow", str(folder))]
