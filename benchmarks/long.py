"""Long videos: the plan of one of hours, and a grade of ten thousand frames from manifest to deliverable.

    python -m benchmarks.long plan  [--hours 2]      index and plan only; a clip is drawn and looped without encoding
    python -m benchmarks.long grade [--frames 10000] all of it, by `samaflow edit`

Prints wall seconds, processor seconds of all children, and the largest child's memory: the last must not grow with the
video's length but by what its list of timestamps takes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg

from edits.media.index import index_source
from tasks.forecast import forecast
from tasks.intake import read_order
from tasks.run import open_run
from tests.fakes.clips import write_clip

RATE = Fraction(24)
CUTS = (90, 260, 400)
"""In a clip of 480 frames."""


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Print what the block took, its children's work included."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    yield
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    print(f"{what}: {time.monotonic() - began:.1f} s by the clock, {seconds:.1f} s of processor time,", end=" ")
    print(f"largest child {used.ru_maxrss / 1024:.0f} MiB")


def looped(folder: Path, frames: int, size: tuple[int, int]) -> Path:
    """A clip of at least so many frames, whose packets repeat."""
    once = write_clip(folder / "once.mp4", frames=480, size=size, rate=RATE, cuts=CUTS)
    target = folder / "long.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-stream_loop", "-1", "-i", str(once)]
    subprocess.run([*command, "-t", f"{float(frames / RATE):.6f}", "-c", "copy", str(target)], check=True)
    return target


def plan(folder: Path, hours: float) -> None:
    source = looped(folder, round(hours * 3600 * RATE), (320, 192))
    manifest = f"source,instruction,editor\n{source},turn it sepia,grade\n".encode()
    for what in ("index and plan", "plan again, its index kept"):
        with timed(what), open_run((folder,), state_folder=folder / "state") as run:
            (row,) = forecast(run, read_order(run, manifest, "long.csv", folder), quick=False).rows
    if row.error:
        sys.exit(row.error)
    chunks = row.estimate.chunks if row.estimate else 0
    print(f"{row.end - row.start} frames, {row.shots} shots, {chunks} chunks")


def grade(folder: Path, frames: int) -> None:
    source = looped(folder, frames, (640, 384))
    (folder / "long.csv").write_text(f"source,instruction,editor,output\n{source.name},warmer,grade,out.mp4\n")
    command = [str(Path(sys.executable).with_name("samaflow")), "edit", "long.csv", "--json"]
    with timed("edit"):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:] + done.stdout[-2000:])
    (row,) = json.loads(done.stdout)["rows"]
    count = index_source(folder / "out.mp4", lambda done, total: None).frames
    print(f"{row['state']}, {count} frames delivered of {index_source(source, lambda done, total: None).frames}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("plan", "grade"))
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--frames", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if asked.what == "plan":
            plan(Path(name), asked.hours)
        else:
            grade(Path(name), asked.frames)


if __name__ == "__main__":
    main()
