"""A cut in whatever kind of file: its clips, and the manifest that its notes ask for."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from edits.errors import ManifestError
from edits.timeline.clip import Clip, media_of, row_of
from edits.timeline.edl import read_edl
from edits.timeline.otio import read_otio

OTIO_SUFFIXES = (".otio", ".otioz")
MAX_BYTES = 64 << 20


def read_cut(path: Path) -> tuple[Clip, ...]:
    """The clips of an EDL or an OpenTimelineIO file, by its suffix.

    Raises:
        ManifestError: another kind of file, one that cannot be read, or one without clips.
    """
    suffix = path.suffix.lower()
    if suffix in OTIO_SUFFIXES:
        return read_otio(path)
    if suffix == ".edl":
        return read_edl(edl_text(path), path.name)
    raise ManifestError(f"{path}: a cut is an .edl, .otio or .otioz file; export one of these")


def edl_text(path: Path) -> str:
    """The text of an EDL.

    Raises:
        ManifestError: it cannot be read, or is too large to be one.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ManifestError(f"{path}: an EDL has at most {MAX_BYTES >> 20} MiB; check that the right file is named")
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}. Check the path") from error


def manifest_of(path: Path, folder: Path | None, extra: dict[str, str]) -> str:
    """The CSV of a manifest with one row for each clip that has notes; `extra` are cells that all rows share.

    Raises:
        ManifestError: as `read_cut`; no clip has notes; the media of clips, all named, is not found in `folder`.
    """
    noted = [clip for clip in read_cut(path) if clip.instruction]
    if not noted:
        raise ManifestError(
            f"{path}: no clip has a note that says what to change. In an EDL that is a comment (* COMMENT: make it "
            "winter) or a locator, in OpenTimelineIO a marker with a comment"
        )
    sources = media_of(noted, path.parent, folder)
    rows = [row_of(clip, source, path.name, extra) for clip, source in zip(noted, sources, strict=True)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
