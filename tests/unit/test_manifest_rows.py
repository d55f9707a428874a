"""Which rows are good, and what a bad one is told."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edits.catalogue import EditorEntry
from edits.columns import BY_NAME, COLUMNS, MAX_INSTRUCTION
from edits.errors import RowError, SettingsError, TrustError, by_row, wrong_cells
from edits.job import Sampling
from edits.manifest import ManifestRow, one_row_manifest, read_manifest, validate_rows
from edits.settings import load_settings
from edits.trust import Trust
from sama_model.config import Geometry
from tests.fakes.intake import DELIVERABLES, SAMPLED, make_card, make_catalogue


def validate(text: str, folder: Path, **overrides: object) -> tuple[tuple[ManifestRow, ...], tuple[RowError, ...]]:
    settings = load_settings(folder, {}, overrides)
    trust = Trust([folder], ("file", "s3"), {})
    manifest = read_manifest(text.encode(), "jobs.csv")
    return validate_rows(manifest, make_catalogue(), DELIVERABLES, settings, trust, folder)


def row_of(folder: Path, **cells: str) -> ManifestRow:
    rows, errors = validate(one_row(cells), folder)
    assert not errors
    return rows[0]


def error_of(folder: Path, **cells: str) -> RowError:
    rows, errors = validate(one_row(cells), folder)
    assert not rows
    assert len(errors) == 1
    return errors[0]


def one_row(cells: dict[str, str]) -> str:
    cells = {"source": "a.mp4", "instruction": "make it winter", **cells}
    return "\t".join(cells) + "\n" + "\t".join(cells.values()) + "\n"


# -- defaults and parsing ---------------------------------------------------------------------------------------------


def test_two_columns_are_enough(tmp_path: Path) -> None:
    row = row_of(tmp_path)
    assert row.source == (tmp_path / "a.mp4").as_uri()
    assert (row.editor, row.weights, row.preset, row.seed) == ("sama", "tiny", "quality", 0)
    assert row.sampling == Sampling(50, 5.0, 4.0)
    assert (row.start, row.end, row.deliverable, row.detail) == (None, None, "h264", "full")
    assert row.target.uri == (tmp_path / "deliverables").as_uri()
    assert row.target.is_folder
    assert (row.project, row.priority, row.notes) == ("", 0, "")


def test_settings_decide_what_an_empty_cell_means(tmp_path: Path) -> None:
    rows, errors = validate(
        "source,instruction\na.mp4,sepia\n",
        tmp_path,
        default_editor="grade",
        default_weights={"grade": "builtin"},
        default_deliverable="ffv1",
        default_detail="upscale",
        output_folder="out",
    )
    assert not errors
    assert (rows[0].editor, rows[0].weights, rows[0].deliverable, rows[0].detail) == (
        "grade",
        "builtin",
        "ffv1",
        "upscale",
    )
    assert rows[0].target.uri == (tmp_path / "out").as_uri()


@pytest.mark.parametrize(
    "overrides",
    [
        {"default_editor": "samba"},
        {"default_deliverable": "h265"},
        {"default_weights": {"sama": "14b"}},
        {"default_weights": {"samba": "tiny"}},
    ],
)
def test_an_unknown_default_is_an_error_of_the_settings(tmp_path: Path, overrides: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="defaults"):
        validate("source,instruction\na.mp4,x\n", tmp_path, **overrides)


def test_an_output_folder_outside_the_roots_is_an_error_of_the_settings(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="output folder"):
        validate("source,instruction\na.mp4,x\n", tmp_path, output_folder="/elsewhere")


def test_steps_and_guidance_go_on_top_of_the_preset(tmp_path: Path) -> None:
    row = row_of(tmp_path, preset="fast", steps="30", guidance="4.5", seed="9223372036854775807")
    assert (row.preset, row.sampling, row.seed) == ("fast", Sampling(30, 4.5, 4.0), 2**63 - 1)


def test_the_instruction_is_cleaned(tmp_path: Path) -> None:
    text = 'source,instruction\na.mp4,"  make\n  it\t cafe\u0301 "\n'
    rows, _ = validate(text, tmp_path)
    assert rows[0].instruction == "make it café"


def test_every_column_has_help_and_an_example_that_it_takes() -> None:
    for column in COLUMNS:
        assert column.help
        column.parse(column.example)


def test_the_examples_of_all_columns_make_a_row(tmp_path: Path) -> None:
    examples = {column.name: column.example for column in COLUMNS}
    row = row_of(tmp_path, **{**examples, "editor": "sama"})
    assert (row.priority, row.notes, row.output) == (10, "client asked twice", "deliverables/dog_winter.mp4")


# -- bad cells --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("source", "", "empty"),
        ("source", "../a.mp4", "outside the allowed folders"),
        ("source", "http://host/a.mp4", "'http:' is not allowed"),
        ("instruction", "", "empty"),
        ("instruction", "\u200b\u200d", "empty"),
        ("instruction", "x" * (MAX_INSTRUCTION + 1), "at most 4000"),
        ("editor", "samma", "Did you mean 'sama'? Known: sama, grade."),
        ("weights", "14b", "Known: tiny."),
        ("preset", "qualty", "Did you mean 'quality'? Known: quality, fast."),
        ("start", "120", "f120"),
        ("end", "12,5", "12.5s"),
        ("seed", "-1", "from 0 to"),
        ("seed", str(2**63), "from 0 to"),
        ("seed", "1.5", "not a whole number"),
        ("seed", "9,22E+18", "shortened"),
        ("steps", "0", "from 1 to 1000"),
        ("steps", "1001", "from 1 to 1000"),
        ("guidance", "nan", "not a number"),
        ("guidance", "inf", "not a number"),
        ("guidance", "50.1", "from 0 to 50"),
        ("guidance", "4,5", "with a point"),
        ("deliverable", "h265", "Did you mean 'h264'? Known: h264, prores_422_hq, ffv1."),
        ("detail", "ful", "Did you mean 'full'? Known: full, tone, upscale."),
        ("output", "/etc/x.mp4", "outside the allowed folders"),
        ("output", "x" * 300 + ".mp4", "255 bytes"),
        *(
            ("output", f"out/{name}", "Write v### (or v####) once, in the file's name")
            for name in ("C_V###.mp4", "x_v##.mp4", "v###/x.mp4", "v###_v####.mp4", "x??.mp4", "rev###.mp4", "v###/")
        ),
        ("audio", "1 1", "named twice"),
        ("audio", "0", "not a choice of audio tracks"),
        ("priority", "1001", "from -1000 to 1000"),
        ("priority", "high", "not a whole number"),
    ],
)
def test_a_bad_cell_is_named_with_what_to_write_instead(tmp_path: Path, column: str, value: str, says: str) -> None:
    error = error_of(tmp_path, **{column: value})
    assert (error.line, error.column) == (2, column)
    assert error.value == value or error.value.endswith("…")
    assert says in str(error)


def test_an_instruction_that_the_editor_does_not_know_is_a_bad_cell(tmp_path: Path) -> None:
    error = error_of(tmp_path, editor="grade", instruction="winter")
    assert error.column == "instruction"
    assert "known are sepia, invert" in str(error)


@pytest.mark.parametrize(
    ("column", "value"), [("steps", "30"), ("guidance", "5"), ("seed", "0"), ("preset", "quality")]
)
def test_an_editor_without_a_sampler_ignores_no_sampling_column_but_refuses_it(
    tmp_path: Path, column: str, value: str
) -> None:
    error = error_of(tmp_path, editor="grade", instruction="sepia", **{column: value})
    assert (error.column, error.value) == (column, value)
    assert "Empty the cell" in error.remedy


@pytest.mark.parametrize(("start", "end"), [("f10", "f10"), ("f10", "f9"), ("2s", "1.5s")])
def test_an_end_that_is_not_after_the_start_is_found_before_the_source_is_read(
    tmp_path: Path, start: str, end: str
) -> None:
    error = error_of(tmp_path, start=start, end=end)
    assert (error.column, error.value) == ("end", end)


def test_all_bad_cells_of_all_rows_are_found_at_once_and_good_rows_go_on(tmp_path: Path) -> None:
    rows, errors = validate(
        "source,instruction,editor,seed,start\n"
        "a.mp4,winter,,,\n"
        "../b.mp4,,samma,x,12\n"
        "c.mp4,sepia\n"
        "d.mp4,sepia,grade,,\n"
        "e.mp4,winter,grade,1,\n",
        tmp_path,
    )
    assert [row.line for row in rows] == [2, 5]
    assert [(error.line, error.column) for error in errors] == [
        (3, "instruction"),
        (3, "seed"),
        (3, "start"),
        (3, "editor"),
        (3, "source"),
        (4, "editor"),
        (6, "seed"),
        (6, "instruction"),
    ]


# -- rows against each other ------------------------------------------------------------------------------------------


def test_the_second_of_two_rows_with_one_output_is_refused_and_names_the_first(tmp_path: Path) -> None:
    rows, errors = validate(
        "source,instruction,output\na.mp4,x,out/o.mp4\nb.mp4,y,./out/../out/o.mp4\nc.mp4,z,out/p.mp4\n", tmp_path
    )
    assert [row.line for row in rows] == [2, 4]
    assert [(error.line, error.column) for error in errors] == [(3, "output")]
    assert "line 2 writes this file" in str(errors[0])


def test_the_second_of_two_equal_rows_is_refused_whatever_its_notes_say(tmp_path: Path) -> None:
    rows, errors = validate(
        "source,instruction,seed,notes,priority\na.mp4,x,,first,1\n./a.mp4, x ,0,second,2\na.mp4,x,1,,\n", tmp_path
    )
    assert [row.line for row in rows] == [2, 4]
    assert "the same edit as line 2" in str(errors[0])


def test_a_row_that_is_refused_claims_no_output(tmp_path: Path) -> None:
    rows, errors = validate("source,instruction,output\na.mp4,,o.mp4\nb.mp4,y,o.mp4\n", tmp_path)
    assert [row.line for row in rows] == [3]
    assert [error.line for error in errors] == [2]


def test_an_output_that_is_a_source_of_any_row_is_refused(tmp_path: Path) -> None:
    rows, errors = validate("source,instruction,output\na.mp4,x,b.mp4\nb.mp4,y,\n", tmp_path)
    assert [row.line for row in rows] == [3]
    assert "line 3 reads this file" in str(errors[0])


@pytest.mark.parametrize(
    "row", ["a.mp4,,grade,", "a.mp4,sepia,grdae,", "a.mp4,sepia, please,grade,", "b.mp4,,grade,./a.mp4"]
)
def test_an_output_is_never_a_source_of_a_row_that_is_wrong(tmp_path: Path, row: str) -> None:
    rows, errors = validate(f"source,instruction,editor,output\n{row}\nb.mp4,sepia,grade,a.mp4\n", tmp_path)
    if row.startswith("a.mp4"):
        assert not rows
        assert (errors[-1].line, errors[-1].column) == (3, "output")
        assert "line 2 reads this file; a source is never written" in errors[-1].problem
    else:
        assert [row.line for row in rows] == [3]


def test_an_output_is_never_a_mask_or_a_cut_list(tmp_path: Path) -> None:
    text = "source,instruction,mask,cuts,output\na.mp4,sepia,m.mkv,c.mov,\nb.mp4,sepia,,,m.mkv\nb.mp4,sepia,,,c.mov\n"
    rows, errors = validate(text, tmp_path)
    assert [row.line for row in rows] == [2]
    assert [(error.line, error.column) for error in errors] == [(3, "output"), (4, "output")]


@pytest.mark.parametrize("output", [".samaflow/reports/x.mp4", ".samaflow", "links/x.mp4", "kept/chunks/"])
def test_an_output_never_lies_in_what_samaflow_keeps_for_itself(tmp_path: Path, output: str) -> None:
    (tmp_path / ".samaflow").mkdir()
    (tmp_path / "links").symlink_to(tmp_path / ".samaflow")
    text = f"source,instruction,output\na.mp4,sepia,{output}\n"
    rows, errors = validate(text, tmp_path, store=str(tmp_path / "kept"))
    assert not rows
    assert "which samaflow keeps for itself. Choose a place outside of it." in str(errors[0])
    with pytest.raises(SettingsError, match=r"\[paths\] output.*keeps for itself"):
        validate("source,instruction\na.mp4,x\n", tmp_path, output_folder=output, store=str(tmp_path / "kept"))


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({"output": "/proc/x.mp4"}, "line 2, column 'output', value '/proc/x.mp4': is outside the allowed folders"),
        ({"source": r"a\b.mp4"}, r"value 'a\b.mp4': write / between folders, not a backslash."),
        ({"weights": "huge"}, "value 'huge': no weights are called 'huge'. Known: tiny."),
        ({"instruction": "x", "editor": "grade"}, "value 'x': known are sepia, invert."),
    ],
)
def test_a_message_says_a_value_once_and_as_it_was_written(tmp_path: Path, cells: dict[str, str], says: str) -> None:
    assert says in str(error_of(tmp_path, **cells))


def test_all_wrong_cells_of_a_row_are_one_error(tmp_path: Path) -> None:
    _, errors = validate("source,instruction,seed,start\na.mp4,,x,7\nb.mp4,y,x,\n", tmp_path)
    first, second = by_row(errors)
    assert (first.line, second.line) == (2, 3)
    assert [cell.column for cell in wrong_cells(first)] == ["instruction", "seed", "start"]
    assert [cell.value for cell in wrong_cells(second)] == ["x"]


def test_an_existing_folder_is_a_folder_without_its_slash(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert row_of(tmp_path, output="out").target.is_folder
    assert row_of(tmp_path, output="new/").target.is_folder
    assert not row_of(tmp_path, output="new").target.is_folder


# -- many -------------------------------------------------------------------------------------------------------------


def test_ten_thousand_rows_are_validated_in_memory_that_grows_with_them_alone(tmp_path: Path) -> None:
    count = 10_000
    lines = [f"clips/{i % 20}/{i}.mp4,winter number {i},sama,f{i},{i},30,out/{i}.mp4" for i in range(count)]
    tracemalloc.start()
    rows, errors = validate("source,instruction,editor,start,seed,steps,output\n" + "\n".join(lines), tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(rows), len(errors)) == (count, 0)
    assert peak < count * 6_000


@given(
    st.dictionaries(
        st.sampled_from(sorted(BY_NAME)), st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30)
    )
)
def test_any_text_in_any_cell_is_a_row_or_an_error_of_its_line(cells: dict[str, str]) -> None:
    folder = Path("/nowhere")
    manifest = read_manifest(one_row_manifest({"source": "a.mp4", "instruction": "x", **cells}), "jobs.csv")
    rows, errors = validate_rows(
        manifest, make_catalogue(), DELIVERABLES, load_settings(folder, {}, {}), Trust([folder], ("file",), {}), folder
    )
    assert bool(rows) != bool(errors)
    assert all(error.line == 2 and error.problem for error in errors)


def test_an_error_of_every_row_is_reported(tmp_path: Path) -> None:
    rows, errors = validate("source,instruction\n" + "../a.mp4,x\n" * 5_000, tmp_path)
    assert not rows
    assert [error.line for error in errors] == list(range(2, 5_002))


def test_an_example_of_each_required_column_is_in_its_message(tmp_path: Path) -> None:
    assert BY_NAME["source"].example in error_of(tmp_path, source="").remedy


def test_joint_is_refused_where_chunks_share_too_little_to_be_edited_as_one(tmp_path: Path) -> None:
    short = make_card(
        "sama", name="short", geometry=Geometry(chunk_frames=5, stride=4, lead=0), recipes=SAMPLED.recipes
    )
    catalogue = {"sama": EditorEntry("sama", {"tiny": SAMPLED, "short": short}, "tiny", lambda _: None, joint=True)}
    settings = load_settings(tmp_path, {}, {})
    table = "source,instruction,weights,seams\na.mp4,make it winter,short,joint\na.mp4,make it winter,tiny,joint\n"
    manifest, trust = read_manifest(table.encode(), "jobs.csv"), Trust([tmp_path], ("file",), {})
    good, errors = validate_rows(manifest, catalogue, DELIVERABLES, settings, trust, tmp_path)
    assert [row.line for row in good] == [3]
    assert "the weights 'short' share 1 latent, and joint needs 2" in str(errors[0])


def test_audio_tracks_come_in_the_sources_order(tmp_path: Path) -> None:
    assert row_of(tmp_path, audio="3 1").audio == (1, 3)
