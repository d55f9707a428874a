"""How fast and how large the media chain is, against plain x264 and ffmpeg's own xfade chain on the same source.

    python benchmarks/media.py [--seconds 40] [--repeat 2] [--sizes 1080,2160] [--memory] [--clips ../shared/clips]

Chunks have the geometry of SAMA-14B (81 frames, stride 64, lead 4) at 842 x 474; a grade-like edit of every pixel is
made between split and stitch and not counted; `tone` puts the source's detail back, as is usual for a grade, and
`full`, which lays an enlarged picture over all of it here, is shown beside it. `xfade` is given the chunks at full
size, already edited: it decodes, blends and encodes them as the stitch does, without putting detail back. `scope=full,
untouched` is the stitch of a whole source of which one chunk alone is looked at. `--memory` adds the chain over one
minute and over ten.
Processor times and allocated memory are those of this process and of all processes that it starts.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import psutil

from edits.media import child
from edits.media.chunkfile import ChunkReader, ChunkWriter
from edits.media.records import FrameIndex, SplitChunk, SplitRequest, StitchChunk, StitchRequest

CHUNK, STRIDE, LEAD = 81, 64, 4
WORKING_SIZE = (842, 474)
FLOOR_STITCH, FLOOR_CHAIN, FLOOR_UNTOUCHED = 0.75, 0.35, 0.85
"""Speed against the plain transcode that must not be fallen short of."""
HEIGHTS = {1080: (1920, 1080), 2160: (3840, 2160)}


# -- measuring --------------------------------------------------------------------------------------------------------


@dataclass
class Measured:
    """One step."""

    name: str
    wall: float = 0.0
    cpu: float = 0.0
    peak_mib: float = 0.0
    frames: int = 0


def processor_seconds() -> float:
    """User and system time of this process and of its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(entry.ru_utime + entry.ru_stime for entry in used)


class Peak:
    """Largest sum of what this process and its children have allocated, in MiB."""

    def __init__(self) -> None:
        self.mib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.wait(0.25):
            self.mib = max(self.mib, sum(map(allocated, (me, *me.children(recursive=True)))))


def allocated(process: psutil.Process) -> float:
    """MiB of anonymous memory; nothing of a process that has ended.

    Pages of libraries are left out: they are the page cache's, and a share of them would depend on who else has them
    open (the same stitch seemed to hold 100 MiB less by its proportional set size while other runs were alive).
    """
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0.0
    return float(memory.rss - memory.shared) / (1 << 20)


@contextmanager
def measured(name: str) -> Iterator[Measured]:
    """Fill in the step's figures at the end of the block."""
    step = Measured(name)
    cpu, start = processor_seconds(), time.perf_counter()
    with Peak() as peak:
        yield step
    step.wall, step.cpu, step.peak_mib = time.perf_counter() - start, processor_seconds() - cpu, peak.mib


# -- material ---------------------------------------------------------------------------------------------------------


def ffmpeg(*arguments: str) -> None:
    """Run the bundled ffmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *arguments]
    subprocess.run(command, check=True)


def make_source(clips: Path, folder: Path, seconds: int, lines: int = 1080, rate: str = "30000/1001") -> Path:
    """`dog.mp4` looped, enlarged, with light grain; a generated picture where the clips are absent."""
    target = folder / f"source_{lines}_{seconds}.mp4"
    width, height = HEIGHTS[lines]
    clip = clips / "dog.mp4"
    given = ["-stream_loop", "-1", "-i", str(clip)] if clip.exists() else _generated()
    graph = f"scale={width}:{height}:flags=bicubic,noise=alls=4:allf=t,setpts=N/({rate})/TB"
    tags = ["-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv"]
    picture = ["-vf", graph, "-c:v", "libx264", "-preset", "fast", "-crf", "23", "-pix_fmt", "yuv420p", *tags]
    ffmpeg(*given, "-t", str(seconds), *picture, "-c:a", "aac", str(target))
    return target


def _generated() -> list[str]:
    return ["-f", "lavfi", "-i", "testsrc2=s=1280x720:r=30000/1001", "-f", "lavfi", "-i", "sine=r=48000"]


def looped(source: Path, times: int) -> Path:
    """`source` repeated without encoding it again."""
    target = source.with_name(f"{source.stem}_x{times}.mp4")
    ffmpeg("-stream_loop", str(times - 1), "-i", str(source), "-c", "copy", str(target))
    return target


# -- the chain --------------------------------------------------------------------------------------------------------


def chunk_ranges(index: FrameIndex) -> Iterator[tuple[int, int, int, int]]:
    """(start, end, lead, shot) of every chunk."""
    edges = [0, *index.cuts, index.frames]
    for shot, (first, last) in enumerate(pairwise(edges)):
        length, start = last - first, 0
        while start + CHUNK < length:
            yield first + start, first + start + CHUNK, LEAD if start else 0, shot
            start = min(start + STRIDE, max(0, -(-(length - CHUNK) // 4) * 4))
        yield first + start, last, LEAD if start else 0, shot


def requests(source: Path, index: FrameIndex, folder: Path) -> tuple[SplitRequest, StitchRequest]:
    """What split and stitch are asked for."""
    parts, stitched = [], []
    for number, (start, end, lead, shot) in enumerate(chunk_ranges(index)):
        given, edited = folder / f"{number}.input.mov", folder / f"{number}.output.mov"
        padding = (1 - (end - start)) % 4
        parts.append(SplitChunk(start, end, padding, str(given)))
        stitched.append(StitchChunk(start, end, padding, lead, shot, str(given), str(edited)))
    split = SplitRequest(str(source), index, tuple(parts), *WORKING_SIZE, "squeeze")
    stitch = StitchRequest(
        str(source), index, 0, index.frames, tuple(stitched), "tone", "h264", str(folder / "deliverable.mp4")
    )
    return split, stitch


GRADE = np.array([[1.06, 0.02, 0.0, 4.0], [0.0, 1.0, 0.02, 0.0], [0.0, 0.0, 0.88, -2.0]], np.float32)
"""Warmer and a little brighter: changes every pixel."""


def edit(chunk: StitchChunk) -> None:
    """What a worker would do."""
    with ChunkReader(Path(chunk.input)) as reader, ChunkWriter(Path(chunk.output), *WORKING_SIZE) as writer:
        for frame in reader.frames():
            writer.write(np.asarray(cv2.transform(frame, GRADE)))


def run_chain(source: Path, folder: Path, *, untouched: bool) -> list[Measured]:
    """index, split, (edit), stitch, verify; every step measured but the edit. Raises if the result is not right."""
    folder.mkdir(exist_ok=True)
    with measured("index") as first:
        index = child.run("index", source)
    split, stitch = requests(source, index, folder)
    with measured("split") as second:
        child.run("split", split)
    for chunk in stitch.chunks:
        edit(chunk)
    with measured("stitch") as third:
        child.run("stitch", stitch)
    with measured("verify") as fourth:
        verification = child.run("verify", stitch)
    if not verification.passed:
        raise SystemExit(
            f"the deliverable is not right: {[check for check in verification.checks if not check.passed]}"
        )
    steps = [first, second, third, fourth]
    if untouched:
        same = replace(stitch, chunks=tuple(replace(chunk, output=chunk.input) for chunk in stitch.chunks))
        with measured("stitch, nothing edited") as fifth:
            child.run("stitch", same)
        first_chunk = same.chunks[0]
        part = replace(stitch, chunks=(first_chunk,), edited=(0, first_chunk.end))
        with measured("scope=full, untouched") as sixth:
            child.run("stitch", part)
        masked = replace(stitch, detail="full", output=str(folder / "full.mp4"))
        with measured("stitch, detail=full") as seventh:
            child.run("stitch", masked)
        steps += [fifth, sixth, seventh]
    return [replace(step, frames=index.frames) for step in steps]


X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-mbtree", "0")
"""The options of the deliverable `h264`, without the last of which x264 does not repeat its packets."""


def xfade(source: Path, folder: Path) -> tuple[Measured, int]:
    """ffmpeg's own way: chunks at full size, blended by a chain of xfade filters. (step, frames)"""
    folder.mkdir(exist_ok=True)
    index = child.run("index", source)
    rate = f"{index.rate.numerator}/{index.rate.denominator}" if index.rate else "30"
    ranges = [(start, end) for start, end, _, _ in chunk_ranges(replace(index, cuts=()))]
    parts = [folder / f"{number}.mkv" for number in range(len(ranges))]
    for (start, end), part in zip(ranges, parts, strict=True):
        trim = f"trim=start_frame={start}:end_frame={end},setpts=N*{index.rate.denominator}/{index.rate.numerator}/TB"
        ffmpeg("-i", str(source), "-an", "-vf", trim, *X264, "-r", rate, str(part))
    graph, last, offset = [], "0:v", Fraction(0)
    for number, ((_, before), (start, _)) in enumerate(pairwise(ranges), start=1):
        length = (before - start) / index.rate
        offset = start / index.rate
        graph.append(f"[{last}][{number}:v]xfade=duration={float(length):.6f}:offset={float(offset):.6f}[x{number}]")
        last = f"x{number}"
    inputs = [word for part in parts for word in ("-i", str(part))]
    chain = ["-filter_complex", ";".join(graph), "-map", f"[{last}]"] if graph else []
    with measured("ffmpeg xfade chain") as step:
        ffmpeg(*inputs, *chain, *X264, str(folder / "xfade.mp4"))
    return step, index.frames


def transcode(source: Path, target: Path) -> Measured:
    """The peer: what one ffmpeg command takes."""
    with measured("plain transcode") as step:
        ffmpeg("-i", str(source), *X264, "-c:a", "copy", str(target))
    return step


# -- reports ----------------------------------------------------------------------------------------------------------


def speed(source: Path, folder: Path) -> None:
    """One comparison: transcode, chain, transcode again; the peer's time is the mean of its two."""
    before = transcode(source, folder / "plain.mp4")
    steps = run_chain(source, folder / "chain", untouched=True)
    chained, _ = xfade(source, folder / "xfade")
    after = transcode(source, folder / "plain.mp4")
    frames = steps[0].frames
    peer = (before.wall + after.wall) / 2
    print(f"{'step':24} {'wall s':>8} {'fps':>7} {'of peer':>8} {'CPU s':>7} {'cores':>6} {'peak MiB':>9}")
    for step in (
        replace(before, frames=frames),
        replace(after, frames=frames),
        replace(chained, frames=frames),
        *steps,
    ):
        print(
            f"{step.name:24} {step.wall:8.1f} {frames / step.wall:7.1f} {peer / step.wall:8.0%} {step.cpu:7.1f}"
            f" {step.cpu / step.wall:6.2f} {step.peak_mib:9.0f}"
        )
    chain = sum(step.wall for step in steps[:4])
    work, chain_work = (before.cpu + after.cpu) / 2, sum(step.cpu for step in steps[:4])
    print(f"stitch alone: {peer / steps[2].wall:.0%} of the transcode's speed (at least {FLOOR_STITCH:.0%})")
    print(f"stitch, nothing edited: {peer / steps[4].wall:.0%}")
    print(f"scope=full, untouched: {peer / steps[5].wall:.0%} (at least {FLOOR_UNTOUCHED:.0%})")
    slower, costlier = chained.wall / steps[2].wall, chained.cpu / steps[2].cpu
    print(f"the xfade chain takes {slower:.2f} of the stitch's time and {costlier:.2f} of its processor time")
    print(f"index + split + stitch + verify: {peer / chain:.0%} (at least {FLOOR_CHAIN:.0%})")
    print(
        f"by processor time: stitch {work / steps[2].cpu:.0%}, untouched {work / steps[5].cpu:.0%}, "
        f"chain {work / chain_work:.0%}",
        flush=True,
    )


def memory(source: Path, folder: Path) -> None:
    """Peak over the chain for a source and for ten times as long a one."""
    peaks = []
    for name, path in (("1 x", source), ("10 x", looped(source, 10))):
        steps = run_chain(path, folder / f"memory {name}", untouched=False)
        peaks.append(max(step.peak_mib for step in steps))
        parts = ", ".join(f"{step.name} {step.peak_mib:.0f}" for step in steps)
        print(f"{name:>5}: {steps[0].frames} frames, peak {peaks[-1]:.0f} MiB ({parts})", flush=True)
    print(f"ten times the length takes {peaks[1] / peaks[0] - 1:+.1%} of memory (at most +15%)")


def main() -> None:
    """Make the source, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--sizes", default="1080", help="numbers of lines, separated by commas: 1080, 2160")
    parser.add_argument("--memory", action="store_true", help="one minute against ten: takes long, and 12 GB of disk")
    parser.add_argument("--clips", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "clips")
    parser.add_argument("--folder", type=Path, help="where to work; default a temporary folder")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        for lines in map(int, arguments.sizes.split(",")):
            source = make_source(arguments.clips, folder, arguments.seconds, lines)
            print(f"{lines} lines")
            for _ in range(arguments.repeat):
                speed(source, folder)
        if arguments.memory:
            memory(make_source(arguments.clips, folder, 60), folder)


if __name__ == "__main__":
    main()
