"""How a manifest's bytes come in: never more of them than a manifest may have, and only from a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edits.errors import ManifestError, SourceError
from edits.sources import fingerprint
from edits.spreadsheet import MAX_BYTES
from tasks.intake import read_manifest_file, unreadable
from tasks.manifest_place import find_manifest


def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(ManifestError, match="not a regular file"):
            read_manifest_file(place)


def test_a_file_beyond_the_limit_is_refused_by_its_size(tmp_path: Path) -> None:
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ManifestError, match="at most 256 MiB"):
        read_manifest_file(large)


def test_a_missing_manifest_is_named_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    place = find_manifest("days/gone.csv", "")
    assert place.written == "days/gone.csv"
    with pytest.raises(ManifestError, match=r"^days/gone\.csv: the manifest cannot be read: No such file"):
        read_manifest_file(tmp_path / "days" / "gone.csv", place.written)


def test_a_source_that_cannot_be_read_is_an_error_of_its_cell_and_of_its_own_category() -> None:
    error = unreadable(7, "source", "a.mp4", SourceError("not a video file"))
    assert (error.line, error.column, error.value, error.category) == (7, "source", "a.mp4", "source")
    assert str(error) == "line 7, column 'source', value 'a.mp4': not a video file."


def test_an_empty_source_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(SourceError, match=r"a\.mp4: is empty \(0 bytes\)"):
        fingerprint((tmp_path / "a.mp4").as_uri())
