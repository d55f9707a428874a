"""LUTs that rows give for camera log: gone through before anything is edited, and handed to split and stitch."""

from __future__ import annotations

from edits.errors import RowError, SourceError, StateError, sentence, shortened
from edits.job import EditJob
from edits.keys import sha256_of
from edits.media.records import LutFile
from edits.rows import ManifestRow
from tasks.intake import proven, source_file
from tasks.run import Run


def digest_of_lut(run: Run, row: ManifestRow) -> str:
    """The digest of the row's LUT; empty without one.

    Raises:
        RowError: it cannot be read, is no .cube file, or cannot be undone.
    """
    if not row.lut:
        return ""
    try:
        return proven(run, row.lut, "lut")
    except OSError as error:
        raise _wrong(row, f"the LUT cannot be read: {error.strerror}.", "Check the path.") from error
    except SourceError as error:
        raise _wrong(row, sentence(str(error)), "Give a .cube file that shows camera log in BT.709.") from error


def _wrong(row: ManifestRow, problem: str, remedy: str) -> RowError:
    return RowError(row.line, "lut", shortened(row.lut), problem, remedy)


def lut_of(run: Run, job: EditJob) -> LutFile | None:
    """The job's LUT as split and stitch take it.

    Raises:
        StateError: it is not the file any more that the job was planned with.
    """
    if not job.lut:
        return None
    path = source_file(run, job.lut)
    if sha256_of(path) != job.lut_sha256:
        raise StateError(f"{path}: this LUT was changed since the job was planned. Run the manifest again.")
    return LutFile(job.lut_sha256, str(path))
