"""A deliverable of numbered pictures: PNG files in one ZIP archive, published, known and kept like any other file.

They are stored, not compressed again, with a fixed date: equal pictures make equal archives.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

SUFFIX = ".zip"
FIRST = 1001
"""Number of the first picture, as visual effects count; with handles the range itself begins so many later."""
_DATE = (1980, 1, 1, 0, 0, 0)


def picture_pattern(folder: Path, output: Path) -> str:
    """For ffmpeg's image2: `folder/<name of the output>.1001.png` and so on."""
    return f"{folder}/{output.stem}".replace("%", "%%") + ".%04d.png"


def pack(folder: Path, archive: Path) -> None:
    """Put all files of a folder into a new archive, in order of their names."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(path.name, _DATE)
            entry.external_attr = 0o644 << 16
            with path.open("rb") as source, target.open(entry, "w", force_zip64=False) as file:
                shutil.copyfileobj(source, file, 1 << 20)


def unpack(archive: Path, folder: Path) -> Path:
    """Put the archive's files into a new folder, and return it.

    Raises:
        zipfile.BadZipFile: not an archive, or damaged: every file is held against its checksum.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(archive) as source:
        source.extractall(folder)
    return folder
