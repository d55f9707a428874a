"""A row against its source: exact ranges, the deliverable's name, the job's identity."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from edits.catalogue import EditorEntry
from edits.errors import BadRowError, RowError
from edits.job import EditJob
from edits.manifest import (
    ManifestRow,
    one_row_manifest,
    read_manifest,
    reserve_output,
    resolve_row,
    validate_rows,
)
from edits.media.records import FrameIndex
from edits.output import default_name
from edits.settings import load_settings
from edits.trust import Trust, local_path
from tests.fakes.intake import DELIVERABLES, NTSC, SAMPLED, accept, make_catalogue, make_index

SUFFIXES = (".mp4", ".mov")


def row_of(folder: Path, **cells: str) -> ManifestRow:
    cells = {"source": "dog.mp4", "instruction": "winter", **cells}
    text = "\t".join(cells) + "\n" + "\t".join(cells.values()) + "\n"
    manifest = read_manifest(text.encode(), "jobs.csv")
    trust = Trust([folder], ("file", "s3"), {})
    rows, errors = validate_rows(manifest, make_catalogue(), DELIVERABLES, load_settings(folder, {}, {}), trust, folder)
    assert not errors
    return rows[0]


def job_of(folder: Path, index: FrameIndex | None = None, **cells: str) -> EditJob:
    return resolved(folder, row_of(folder, **cells), index)


def resolved(folder: Path, row: ManifestRow, index: FrameIndex | None = None) -> EditJob:
    trust = Trust([folder], ("file", "s3"), {})
    return resolve_row(row, index or make_index(), make_catalogue(), SUFFIXES, trust, "m1")


def errors_of(folder: Path, index: FrameIndex | None = None, **cells: str) -> list[RowError]:
    with pytest.raises(BadRowError) as caught:
        job_of(folder, index, **cells)
    return list(caught.value.errors)


# -- ranges -----------------------------------------------------------------------------------------------------------


def test_a_row_without_positions_is_the_whole_source(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    assert (job.start, job.end, job.source_sha256, job.manifest_id, job.line) == (0, 300, "5" * 64, "m1", 2)


def test_notations_may_be_mixed_and_mean_frames(tmp_path: Path) -> None:
    index = make_index(rate=NTSC, timecode="01:00:59;00")
    job = job_of(tmp_path, index, start="01:01:00;02", end="2.5s")
    assert (job.start, job.end) == (30, 74)


@pytest.mark.parametrize(
    ("start", "end", "columns"),
    [
        ("f300", "f301", ["start", "end"]),
        ("2s", "f50", ["end"]),
        ("", "f301", ["end"]),
        ("00:00:01;00", "00:00:12:01", ["start", "end"]),
        ("f0", "0s", ["end"]),
    ],
)
def test_each_position_that_is_not_on_the_source_is_an_error(
    tmp_path: Path, start: str, end: str, columns: list[str]
) -> None:
    errors = errors_of(tmp_path, start=start, end=end)
    assert [error.column for error in errors] == columns
    assert errors[-1].value == end


def test_positions_and_output_are_judged_together(tmp_path: Path) -> None:
    errors = errors_of(tmp_path, start="f999", output="o.avi")
    assert [error.column for error in errors] == ["start", "output"]
    assert ".mp4 or .mov" in str(errors[1])


# -- output -----------------------------------------------------------------------------------------------------------


def test_the_default_name_tells_source_editor_and_edit_apart(tmp_path: Path) -> None:
    first, second = job_of(tmp_path), job_of(tmp_path, seed="1")
    name = local_path(first.output).name
    assert local_path(first.output).parent == tmp_path / "deliverables"
    assert name.startswith("dog_sama_")
    assert name.endswith(".mp4")
    assert len(name) == len("dog_sama_12345678.mp4")
    assert first.output != second.output


def test_a_file_that_the_row_names_is_the_output(tmp_path: Path) -> None:
    assert job_of(tmp_path, output="out/My Clip.MOV").output == (tmp_path / "out/My Clip.MOV").as_uri()


@pytest.mark.parametrize(("output", "says"), [("o.avi", "cannot be written as '.avi'"), ("o", "no suffix")])
def test_a_suffix_that_cannot_hold_the_deliverable_is_refused(tmp_path: Path, output: str, says: str) -> None:
    (error,) = errors_of(tmp_path, output=output)
    assert (error.column, error.value) == ("output", output)
    assert says in str(error)


def test_a_link_in_the_output_folder_leads_nowhere_else(tmp_path: Path) -> None:
    job = job_of(tmp_path, output="out/")
    (tmp_path / "out").mkdir()
    local_path(job.output).symlink_to("/etc/deliverable.mp4")
    (error,) = errors_of(tmp_path, output="out/")
    assert "outside the allowed folders" in str(error)


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("file:///x/dog.mp4", "dog"),
        ("file:///x/a%20b%3Bc.d.mp4", "a_b_c.d"),
        ("file:///x/-rf.mp4", "rf"),
        ("file:///x/..hidden.mp4", "hidden"),
        ("file:///x/%E7%8A%AC.mp4", "犬"),
        ("s3://bucket/deep/key.mov", "key"),
        ("file:///x/---.mp4", "video"),
    ],
)
def test_a_default_name_holds_only_characters_that_every_system_takes(source: str, stem: str) -> None:
    assert default_name(source, "sama", "0123456789") == f"{stem}_sama_01234567"


def test_a_default_name_fits_where_the_sources_name_does_not() -> None:
    name = default_name(f"file:///{'犬' * 200}.mp4", "flow_anchor", "0" * 64)
    assert len(name.encode()) < 230
    assert name.startswith("犬" * 50)


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({"audio": "1"}, "the source has 0 audio tracks."),
        (
            {"start": "f1", "handles": "2"},
            "the source has 1 frame before the range and 0 after it. Write 0, or a shorter",
        ),
        (
            {"start": "f9", "end": "f290", "handles": "12"},
            "has 9 frames before the range and 10 after it. Write 9 or less",
        ),
    ],
)
def test_what_the_source_has_is_counted_in_grammar(tmp_path: Path, cells: dict[str, str], says: str) -> None:
    (error,) = errors_of(tmp_path, **cells)
    assert says in str(error)


# -- identity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells",
    [
        {"project": "p", "priority": "5", "notes": "n"},
        {"start": "f0", "end": "12s"},
        {"start": "00:00:00:00", "end": "f300"},
        {"instruction": " winter  "},
        {"editor": "sama", "weights": "tiny", "seed": "0", "preset": "quality", "steps": "50", "guidance": "5"},
        {"deliverable": "h264", "detail": "full", "output": "deliverables/"},
    ],
)
def test_another_way_to_say_the_same_is_the_same_job(tmp_path: Path, cells: dict[str, str]) -> None:
    assert job_of(tmp_path, **cells).job_id == job_of(tmp_path).job_id


@pytest.mark.parametrize(
    "cells",
    [
        {"instruction": "summer"},
        {"editor": "grade", "instruction": "sepia"},
        {"start": "f1"},
        {"end": "f299"},
        {"seed": "1"},
        {"steps": "49"},
        {"guidance": "4"},
        {"preset": "fast"},
        {"deliverable": "ffv1"},
        {"detail": "upscale"},
        {"output": "o.mp4"},
    ],
)
def test_whatever_decides_the_deliverable_makes_another_job_and_another_name(
    tmp_path: Path, cells: dict[str, str]
) -> None:
    job, other = job_of(tmp_path), job_of(tmp_path, **cells)
    assert job.job_id != other.job_id
    assert job.output != other.output


def test_the_sources_bytes_decide_and_not_where_they_lie(tmp_path: Path) -> None:
    here = job_of(tmp_path, output="o.mp4")
    there = job_of(tmp_path, source="copy/of_dog.mp4", output="o.mp4")
    other = job_of(tmp_path, make_index(sha256="6" * 64), output="o.mp4")
    assert here.job_id == there.job_id
    assert here.job_id != other.job_id


@pytest.mark.parametrize("change", [{"editor_version": "2"}, {"digest": "d2"}, {"numerics": "bf16"}])
def test_new_weights_or_a_new_editor_make_another_job_of_the_same_row(tmp_path: Path, change: dict[str, str]) -> None:
    catalogue = {"sama": EditorEntry("sama", {"tiny": replace(SAMPLED, **change)}, "tiny", accept)}
    row = row_of(tmp_path)
    trust = Trust([tmp_path], ("file",), {})
    renewed = resolve_row(row, make_index(), catalogue, SUFFIXES, trust, "m1")
    assert renewed.job_id != resolved(tmp_path, row).job_id


def test_a_second_job_with_the_same_output_is_refused_and_names_the_first(tmp_path: Path) -> None:
    first, taken = job_of(tmp_path), {}
    reserve_output(first, taken)
    reserve_output(first, taken)
    reserve_output(replace(first, line=4, output="file:///other.mp4"), taken)
    with pytest.raises(RowError, match="line 2 writes this file") as caught:
        reserve_output(replace(first, line=3), taken)
    assert (caught.value.line, caught.value.column) == (3, "output")


@pytest.mark.parametrize("instruction", ['say "hello, you"', "two\nlines", "née; \t tab"])
def test_a_manifest_made_of_cells_reads_back_as_those_cells(instruction: str) -> None:
    manifest = read_manifest(one_row_manifest({"source": "a,b.mp4", "instruction": instruction}), "call")
    assert [record.fields for record in manifest.records] == [("a,b.mp4", instruction)]


def test_a_source_is_never_its_own_output(tmp_path: Path) -> None:
    row = replace(row_of(tmp_path, output="x.mp4"), source=(tmp_path / "x.mp4").as_uri())
    with pytest.raises(BadRowError, match="never written"):
        resolved(tmp_path, row)


def test_an_anamorphic_source_is_edited_in_the_shape_it_is_shown_in(tmp_path: Path) -> None:
    square = job_of(tmp_path, make_index(width=1440, height=1080), output="o.mp4")
    wide = job_of(tmp_path, make_index(width=1440, height=1080, sample_aspect_ratio=Fraction(4, 3)), output="o.mp4")
    assert square.job_id != wide.job_id


# -- versions that are left open --------------------------------------------------------------------------------------


def test_an_open_version_is_the_first_that_the_job_may_take(tmp_path: Path) -> None:
    row = row_of(tmp_path, output="sh010_v###.mov")
    trust, asked = Trust([tmp_path], ("file", "s3"), {}), {}

    def may_take(uri: str, job: str) -> bool:
        asked[uri] = job
        return len(asked) == 3

    job = resolve_row(row, make_index(), make_catalogue(), SUFFIXES, trust, "m1", may_take=may_take)
    assert [local_path(uri).name for uri in asked] == ["sh010_v001.mov", "sh010_v002.mov", "sh010_v003.mov"]
    assert job.output == list(asked)[-1]
    assert asked[job.output] == job.job_id
    assert len(set(asked.values())) == 3, "the id that counts is that of the version"


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("sh010_v####.mov", "sh010_v0001.mov"),
        ("v001/sh010.v###.mov", "sh010.v001.mov"),
        ("v###_sh010.mov", "v001_sh010.mov"),
        ("sh010_#1?.mov", "sh010_#1?.mov"),
    ],
)
def test_only_a_version_is_left_open(tmp_path: Path, written: str, named: str) -> None:
    assert local_path(job_of(tmp_path, output=written).output).name == named


def test_two_edits_may_share_a_name_whose_version_is_open(tmp_path: Path) -> None:
    text = b"source,instruction,output\na.mp4,winter,x_v###.mov\na.mp4,summer,x_v###.mov\na.mp4,winter,x_v###.mov\n"
    trust, settings = Trust([tmp_path], ("file",), {}), load_settings(tmp_path, {}, {})
    manifest = read_manifest(text, "jobs.csv")
    rows, errors = validate_rows(manifest, make_catalogue(), DELIVERABLES, settings, trust, tmp_path)
    assert [row.line for row in rows] == [2, 3]
    assert [error.problem for error in errors] == ["the same edit as line 2."]
