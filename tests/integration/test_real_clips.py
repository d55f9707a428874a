"""The whole chain over footage that nobody here made, and over truly variable timestamps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.fakes.clips import picture
from tests.fakes.command import Folder

pytestmark = [pytest.mark.shared, pytest.mark.slow]

SHORT = ("no_duration.webm",)
LONG = ("dog.mp4", "bunny_cuts.webm", "pcm_1080p50.mov")
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


def frames(path: Path) -> Iterator[tuple[Fraction, av.VideoFrame]]:
    """Each with its presentation time after the first, exact."""
    with av.open(str(path)) as container:
        first = None
        for frame in container.decode(video=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            time = frame.pts * frame.time_base
            first = time if first is None else first
            yield time - first, frame


def sound(path: Path) -> list[list[bytes]]:
    """The packets of every audio stream."""
    with av.open(str(path)) as container:
        places = {stream.index: place for place, stream in enumerate(container.streams.audio)}
        found: list[list[bytes]] = [[] for _ in places]
        for packet in container.demux(*container.streams.audio) if places else ():
            if packet.size:
                found[places[packet.stream_index]].append(bytes(packet))
    return found


@dataclass(frozen=True)
class Result:
    """What became of one source."""

    source: Path
    graded: Path
    passed: Path


@pytest.fixture(scope="module", params=["short", pytest.param("long", marks=pytest.mark.footage)])
def results(
    request: pytest.FixtureRequest, shared: Path, prefect_url: str, tmp_path_factory: pytest.TempPathFactory
) -> list[Result]:
    """Of one manifest over several sources, each graded and passed through."""
    folder = Folder(tmp_path_factory.mktemp("real"), prefect_url)
    sources = [shared / "clips" / name for name in (LONG if request.param == "long" else SHORT)]
    if request.param == "short":
        sources += [write_variable(folder.path / f"variable{suffix}") for suffix in (".mp4", ".mkv")]
    grade = {"instruction": "turn it sepia", "editor": "grade"}
    passthrough = {"instruction": "leave it", "editor": "passthrough", "deliverable": "ffv1", "detail": "full"}
    folder.manifest(*({"source": source, **form} for source in sources for form in (grade, passthrough)))
    rows = folder.edit("--allow", str(shared / "clips"), "--workers", "2", timeout=600)["rows"]
    made = [Path(row["output"].removeprefix("file://")) for row in rows]
    return [Result(source, *made[2 * place : 2 * place + 2]) for place, source in enumerate(sources)]


def test_passthrough_gives_every_real_clip_back_bit_for_bit(results: list[Result]) -> None:
    for result in results:
        assert sound(result.passed) == sound(result.source), result.source.name
        both = zip(frames(result.passed), frames(result.source), strict=True)
        for number, ((time, mine), (expected, theirs)) in enumerate(both):
            assert time == expected, f"{result.source.name}, frame {number}"
            assert np.array_equal(mine.to_ndarray(), theirs.to_ndarray()), f"{result.source.name}, frame {number}"


def test_frames_times_and_sound_of_real_clips_survive_grading(results: list[Result]) -> None:
    for result in results:
        assert sound(result.graded) == sound(result.source), result.source.name
        assert times(result.graded) == times(result.source), result.source.name


def times(path: Path) -> list[Fraction]:
    return [time for time, _ in frames(path)]
