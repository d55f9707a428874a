"""Masks that rows give: looked at before anything is edited, and handed to the stitch."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import unquote

from edits.errors import RowError, SourceError, StateError, sentence, shortened
from edits.job import EditJob
from edits.keys import sha256_of
from edits.media.givenmask import STILLS
from edits.media.records import FrameIndex, GivenMask
from edits.rows import ManifestRow
from edits.wording import counted
from tasks.intake import index_of, proven, source_file
from tasks.run import Run


def digest_of_mask(run: Run, row: ManifestRow, index: FrameIndex) -> str:
    """The digest of the row's mask; empty without one.

    Raises:
        RowError: it is no picture or video that can be read, or does not have a frame for each of the source's.
    """
    if not row.mask:
        return ""
    try:
        if _is_still(row.mask):
            return proven(run, row.mask, "still")
        found = index_of(run, row.mask, row.line)
    except OSError as error:
        raise _wrong(row, f"the mask cannot be read: {error.strerror}.", "Check the path.") from error
    except SourceError as error:
        raise _wrong(row, sentence(str(error)), "Give a PNG picture, or a video like the source.") from error
    if found.frames != index.frames:
        said = f"the mask has {counted(found.frames, 'frame')}, the source {index.frames}."
        raise _wrong(row, said, "Give one with a frame for each of the source's, or one picture for all.")
    return found.sha256


def _wrong(row: ManifestRow, problem: str, remedy: str) -> RowError:
    return RowError(row.line, "mask", shortened(row.mask), problem, remedy)


def mask_of(run: Run, job: EditJob) -> GivenMask | None:
    """The job's mask as the stitch takes it.

    Raises:
        StateError: it is not the file any more that the job was planned with.
    """
    if not job.mask:
        return None
    path = source_file(run, job.mask)
    index = None if _is_still(job.mask) else index_of(run, job.mask, job.line)
    if (index.sha256 if index else sha256_of(path)) != job.mask_sha256:
        raise StateError(f"{path}: this mask was changed since the job was planned. Run the manifest again.")
    return GivenMask(str(path), index, 0 if index is None else job.start)


def _is_still(uri: str) -> bool:
    return PurePosixPath(unquote(uri)).suffix.lower() in STILLS
