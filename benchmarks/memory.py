"""How much memory a run of `samaflow edit` holds, by who holds it, for a 1080p source and for one ten times as long.

    python -m benchmarks.memory [--seconds 60] [--times 10] [--rate 30000/1001] [--clips CLIPS] [--folder FOLDER]

The source is edited by `grade` with real frames of a looped clip. The figures are peaks of anonymous memory, that is
what processes have allocated: of the flow with its media children, of its workers, and of the embedded Prefect server.
Ten minutes take 15 GB of disk and, on two cores, about half an hour.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psutil

from benchmarks.media import allocated, looped, make_source

ROLES = {"tasks.gpu": "workers", "prefect.server": "Prefect server"}
"""Who a process is, by what its command line holds; all others are the flow and its media children."""

FLOW = "flow and media children"


def role_of(process: psutil.Process) -> str:
    """The role of a descendant of the flow, or of the flow itself."""
    line = " ".join(process.cmdline())
    return next((role for mark, role in ROLES.items() if mark in line), FLOW)


def sample(flow: psutil.Process) -> dict[str, float]:
    """MiB by role, now. A process that ends meanwhile counts as nothing."""
    held: dict[str, float] = defaultdict(float)
    for process in (flow, *flow.children(recursive=True)):
        try:
            held[role_of(process)] += allocated(process)
        except psutil.Error:
            continue
    return held


def run(source: Path, folder: Path) -> dict[str, float]:
    """Edit `source` in an empty folder; peak MiB by role."""
    folder.mkdir()
    manifest = folder / "manifest.csv"
    manifest.write_text(f"source,instruction,editor,deliverable,output\n{source},sepia,grade,h264,{folder}/out.mp4\n")
    command = [sys.executable, "-m", "flows.cli", "edit", str(manifest), "--allow", str(source.parent)]
    start, peaks = time.perf_counter(), dict[str, float]()
    with (folder / "log").open("wb") as log:
        process = psutil.Popen(command, cwd=folder, stdout=log, stderr=log)
        while process.poll() is None:
            for role, mib in sample(process).items():
                peaks[role] = max(peaks.get(role, 0.0), mib)
            time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"the run failed with {process.returncode}:\n{(folder / 'log').read_text()[-2000:]}")
    print(f"{source.name}: {time.perf_counter() - start:.0f} s, peak MiB: ", end="")
    print(", ".join(f"{role} {mib:.0f}" for role, mib in sorted(peaks.items())), flush=True)
    return peaks


def main() -> None:
    """Make the sources, run both, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--rate", default="30000/1001", help="frames a second; fewer take less time and disk")
    parser.add_argument("--clips", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "clips")
    parser.add_argument("--folder", type=Path, help="where to work; default a temporary folder")
    arguments = parser.parse_args()
    if arguments.folder is not None:
        arguments.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        short = make_source(arguments.clips, folder, arguments.seconds, rate=arguments.rate)
        once = run(short, folder / "short")
        many = run(looped(short, arguments.times), folder / "long")
    growth = many[FLOW] / once[FLOW] - 1
    print(f"{arguments.times} times the length takes {growth:+.1%} of memory in the {FLOW} (at most +15%)")


if __name__ == "__main__":
    main()
