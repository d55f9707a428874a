"""Takes the pictures of the guides: runs the browser tests of the service and keeps what they saw in docs/images.

.venv/bin/python docs/take_pictures.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 1100
TEST = "a_video_is_edited_from_the_form_and_approved_after_its_review"
NAMES = ("deployments", "form", "run", "review", "index")


def main() -> int:
    tests = ["-m", "browser", "-q", f"tests/browser/test_service.py::test_{TEST}"]
    code = subprocess.run([sys.executable, "-m", "pytest", *tests], cwd=ROOT, check=False).returncode
    if code == 0:
        (ROOT / "docs" / "images").mkdir(exist_ok=True)
        for name in NAMES:
            picture = cv2.imread(str(ROOT / ".browser" / f"{TEST}-{name}.png"))
            height = round(picture.shape[0] * WIDTH / picture.shape[1])
            small = cv2.resize(picture, (WIDTH, height), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(ROOT / "docs" / "images" / f"{name}.png"), small, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    return code


if __name__ == "__main__":
    sys.exit(main())
