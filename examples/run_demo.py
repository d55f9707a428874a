"""What `make demo` runs: draws two clips, lays the example manifests beside them and edits the first of them.

    python examples/run_demo.py FOLDER

Everything that is made lies in FOLDER. Run again, it finds what is finished and edits nothing twice.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from draw_clip import draw_clip
from draw_world import draw_world

CLIPS = {"clip": draw_clip, "world": draw_world}
MANIFESTS = ("demo.csv", "dailies.csv")


def prepare(folder: Path) -> None:
    """The clips (drawn aside, so that an interrupted drawing is not taken for a clip) and the manifests."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in CLIPS.items():
        clip, part = folder / f"{name}.mp4", folder / f"{name}.part.mp4"
        if not clip.exists():
            print(f"drawing {clip}", flush=True)
            draw(part)
            part.replace(clip)
    for name in MANIFESTS:
        shutil.copyfile(Path(__file__).with_name(name), folder / name)


def main() -> int:
    parser = argparse.ArgumentParser(description="Draw the example clips and edit them.")
    parser.add_argument("folder", type=Path, help="where everything goes, e.g. demo")
    folder: Path = parser.parse_args().folder
    prepare(folder)
    samaflow = Path(sys.executable).with_name("samaflow")
    print(f"cd {folder} && samaflow edit demo.csv", flush=True)
    return subprocess.run([samaflow, "edit", "demo.csv"], cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
