"""What is said when a deliverable came out other than its record has it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from edits.catalogue import Catalogue
from edits.job import JobState
from edits.lineage import ChunkLineage, Lineage, Origin, SourceLineage
from edits.media.records import StreamDigest
from edits.settings import load_settings
from tasks.catalogue import build_catalogue
from tasks.reproduce import compare
from tasks.version import code_version, packages
from tests.fakes.recorded import SOURCE, edit_job, key

VIDEO, SOUND = StreamDigest("video", "h264", 36, "a" * 64), StreamDigest("audio", "aac", 60, "b" * 64)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return build_catalogue(load_settings(tmp_path, {}, {}))


def chunk(name: str, start: int, sha256: str = "c" * 64, device: str = "cpu") -> ChunkLineage:
    facts = {"editor": "grade", "editor_version": "1", "weights": "builtin", "weights_digest": "", "device": device}
    return ChunkLineage(
        key(name), sha256, start, start + 12, 0, "", "", 7, **facts, dispatch_id="d", seconds={}, versions={}
    )


def made() -> Lineage:
    return Lineage(
        sha256="e" * 64,
        uri="file:///out/a.mp4",
        size=5,
        recorded_at="2026-05-04T12:00:00+00:00",
        streams=(VIDEO, SOUND),
        copies=(),
        job=edit_job(),
        state=JobState.DELIVERED,
        plan=None,
        source=SourceLineage(SOURCE, "file:///in/a.mp4", 1000, 36),
        chunks=(chunk("a", 0), chunk("b", 12)),
        code_version=code_version(),
        encoding="libx264 threads=4",
    )


def test_equal_packets_are_identical_whatever_the_files_are_called(catalogue: Catalogue) -> None:
    found = compare(made(), replace(made(), uri="file:///again.mp4", sha256="f" * 64), catalogue)
    assert (found.identical, found.streams, found.chunks) == (True, (), ())
    assert {difference.what for difference in found.differences} <= {"editor version", "numerics"}


def test_other_packets_are_named_by_stream_and_other_chunks_by_their_frames(catalogue: Catalogue) -> None:
    other = replace(VIDEO, sha256="9" * 64)
    after = replace(made(), streams=(other, SOUND), chunks=(chunk("a", 0), chunk("b", 12, "9" * 64, "H200")))
    found = compare(made(), after, catalogue)
    assert (found.identical, found.chunks) == (False, ("12-23",))
    assert [difference.what for difference in found.streams] == ["stream 0 (video)"]
    assert ("device", "cpu", "H200, cpu") in [(d.what, d.recorded, d.now) for d in found.differences]


def test_a_stream_that_is_missing_is_no_identity(catalogue: Catalogue) -> None:
    found = compare(made(), replace(made(), streams=(VIDEO,)), catalogue)
    assert (found.identical, found.streams[0].what) == (False, "number of streams")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"code_version": "0.0.9"}, "code"),
        ({"encoding": "libx264 threads=2"}, "encoder"),
        ({"source": SourceLineage("6" * 64, "file:///in/a.mp4", 1000, 36)}, "source"),
        ({"job": replace(edit_job(), weights_digest="ab" * 32)}, "weights"),
    ],
)
def test_what_was_otherwise_then_is_named(catalogue: Catalogue, change: dict[str, object], what: str) -> None:
    found = compare(replace(made(), **change), made(), catalogue)  # type: ignore[arg-type]
    assert what in {difference.what for difference in found.differences}


def test_another_way_of_computing_is_named(catalogue: Catalogue) -> None:
    origin = Origin(**dict.fromkeys((field.name for field in fields(Origin)), ""))
    then = replace(origin, settings={"attention": "_flash_3", "compile": True, "profile": "auto"}, packages=packages())
    now = replace(then, settings={**then.settings, "attention": "native"})
    found = compare(replace(made(), origin=then), replace(made(), origin=now), catalogue)
    assert ("setting model.attention", "_flash_3", "native") in [(d.what, d.recorded, d.now) for d in found.differences]
    assert not any(d.what in ("setting model.compile", "setting model.profile") for d in found.differences)
