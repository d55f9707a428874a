"""What spreadsheets write, and what no spreadsheet writes."""

from __future__ import annotations

import csv
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edits.errors import ManifestError
from edits.manifest import Manifest, read_manifest
from edits.spreadsheet import MAX_FIELD, MAX_LINE_BYTES

HEADER = "source,instruction,notes"


def read(text: str, encoding: str = "utf-8") -> Manifest:
    return read_manifest(text.encode(encoding), "jobs.csv")


def cells(manifest: Manifest) -> list[tuple[str, ...]]:
    return [record.fields for record in manifest.records]


def refusal(data: bytes) -> str:
    with pytest.raises(ManifestError) as caught:
        read_manifest(data, "jobs.csv")
    assert "jobs.csv" in str(caught.value)
    assert len(str(caught.value)) < 500
    return str(caught.value)


# -- encodings and separators -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_encoding_separator_and_line_end_gives_the_same_cells(
    encoding: str, separator: str, newline: str
) -> None:
    rows = ["source,instruction,notes", "a.mp4,plus éclatant,“où”", "b.mp4,sépia,"]
    text = newline.join(row.replace(",", separator) for row in rows) + newline
    assert cells(read(text, encoding)) == [("a.mp4", "plus éclatant", "“où”"), ("b.mp4", "sépia", "")]


def test_big_endian_utf_16_is_read() -> None:
    data = b"\xfe\xff" + "source,instruction\na.mp4,中文\n".encode("utf-16-be")
    assert cells(read_manifest(data, "x")) == [("a.mp4", "中文")]


def test_the_separator_is_found_in_the_header_whatever_the_cells_hold() -> None:
    assert cells(read("source;instruction\na.mp4;red, green, blue, and,more\n")) == [
        ("a.mp4", "red, green, blue, and,more")
    ]


def test_excels_separator_line_is_obeyed() -> None:
    manifest = read("sep=;\nsource;instruction\na.mp4;sepia\n")
    assert [(record.line, record.fields) for record in manifest.records] == [(3, ("a.mp4", "sepia"))]


def test_one_header_name_is_enough_to_see_what_is_missing() -> None:
    assert "no column is called instruction" in refusal(b"source\na.mp4\n")


def test_header_names_may_be_capitalised_and_padded() -> None:
    assert read(" Source , INSTRUCTION \na.mp4,sepia\n").header == ("source", "instruction")


def test_empty_columns_that_a_spreadsheet_adds_at_the_end_are_left_out() -> None:
    manifest = read("source,instruction,,\na.mp4,sepia,,\n")
    assert cells(manifest) == [("a.mp4", "sepia")]
    assert not manifest.errors


# -- rows -------------------------------------------------------------------------------------------------------------


def test_empty_rows_are_ignored_and_the_others_keep_their_line_numbers() -> None:
    manifest = read(f"{HEADER}\n\na.mp4,x,\n,,\n , ,\t\nb.mp4,y,\n,,\n\n\n")
    assert [record.line for record in manifest.records] == [3, 6]
    assert not manifest.errors


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_line_numbers_are_those_of_the_file_also_after_cells_of_several_lines(newline: str) -> None:
    text = newline.join([HEADER, 'a.mp4,"one', "", 'two",', "b.mp4,x,", 'c.mp4,"y', 'z",', "d.mp4"])
    manifest = read(text)
    assert [record.line for record in manifest.records] == [2, 5, 6]
    assert [error.line for error in manifest.errors] == [8]


def test_line_numbers_agree_with_the_writer_for_random_multi_line_cells() -> None:
    rng = random.Random(7)
    lines, text, line = [], "source,instruction\r\n", 2
    for number in range(50):
        breaks = rng.randrange(4)
        lines.append(line)
        text += f'{number}.mp4,"{"a" + chr(10) * breaks}"\r\n'
        line += breaks + 1
    assert [record.line for record in read(text).records] == lines


def test_a_row_with_too_few_fields_is_an_error_of_its_own() -> None:
    manifest = read(f"{HEADER}\na.mp4,x\nb.mp4,y,\n")
    assert cells(manifest) == [("b.mp4", "y", "")]
    assert "line 2" in str(manifest.errors[0])
    assert "2 of 3 fields" in str(manifest.errors[0])


def test_unknown_columns_are_all_named_and_the_known_ones_once() -> None:
    said = refusal(b"source,instruction,edtor,colour,sede\na.mp4,x,,,\n")
    for word in ("'edtor'. Did you mean 'editor'?", "'colour'.", "'sede'. Did you mean 'seed'?"):
        assert word in said
    assert said.count("Known:") == 1


def test_a_row_with_too_many_fields_blames_no_column() -> None:
    (error,) = read("source,instruction\na.mp4,make it red, green\n").errors
    assert str(error) == (
        "line 2: the row has 3 fields, the header 2 columns. Put a text that holds the separator into quotes."
    )


def test_a_stray_quote_costs_only_its_row() -> None:
    manifest = read('source,instruction\na.mp4,"x" y\nb.mp4,y\n')
    assert cells(manifest) == [("b.mp4", "y")]
    assert [error.line for error in manifest.errors] == [2]


def test_quotes_inside_an_unquoted_cell_are_text() -> None:
    assert cells(read('source,instruction\na.mp4,write "hello"\n')) == [("a.mp4", 'write "hello"')]


def test_control_characters_and_endless_cells_are_errors_of_their_row() -> None:
    long = "x" * (MAX_FIELD + 1)
    manifest = read(f"source,instruction\na.mp4,bell \x07\nb.mp4,{long}\nc.mp4,fine\n")
    assert cells(manifest) == [("c.mp4", "fine")]
    assert [(error.line, error.column) for error in manifest.errors] == [(2, "instruction"), (3, "instruction")]
    assert all(len(str(error)) < 300 for error in manifest.errors)


# -- the whole file ---------------------------------------------------------------------------------------------------


def test_an_unknown_column_names_the_nearest_known_one() -> None:
    assert "Did you mean 'instruction'?" in refusal(b"source,instructions\na.mp4,x\n")
    assert "Did you mean 'priority'?" in refusal(b"source,instruction,prio\na.mp4,x,1\n")


def test_a_column_that_stands_twice_is_refused() -> None:
    assert "notes: named twice" in refusal(b"source,instruction,notes,Notes\na.mp4,x,,\n")


def test_a_column_without_a_name_between_others_is_refused() -> None:
    assert "has no name" in refusal(b"source,,instruction\na.mp4,,x\n")


def test_a_file_that_begins_with_data_is_told_to_name_its_columns() -> None:
    assert "names no column" in refusal(b"a.mp4,make it sepia\nb.mp4,invert\n")


@pytest.mark.parametrize("data", [b"source,instruction", b"source,instruction\r\n", b"source,instruction\n,\n \n,,\n"])
def test_a_header_alone_has_no_rows(data: bytes) -> None:
    assert "no rows" in refusal(data)


@pytest.mark.parametrize("data", [b"", b"  \r\n", b"\xef\xbb\xbf", b"\xff\xfe", b",,,\n", b"\xef\xbb\xbf\n\n"])
def test_an_empty_file_is_called_empty(data: bytes) -> None:
    assert "empty" in refusal(data)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
        (b"source\0,instruction\n", "is 0"),
        (b"source,instruction\na.mp4,\x81\x8d\n", "binary"),
        (b"PK\x03\x04rest", "workbook"),
        (b"\xd0\xcf\x11\xe0rest", "workbook"),
        ("source,instruction\n".encode("utf-16-le"), "UTF-16 without its mark"),
        (b"\xff\xfes\0o\0u", "does not go on"),
        (b"\xef\xbb\xbf\xff", "does not go on"),
    ],
)
def test_what_is_not_text_is_refused_with_the_reason(data: bytes, says: str) -> None:
    assert says in refusal(data)


def test_an_endless_line_is_refused_with_its_number() -> None:
    assert "line 1" in refusal(b"x" * (MAX_LINE_BYTES + 1))
    assert "line 3" in refusal(b"source,instruction\na,b\n" + b"x" * (3 * MAX_LINE_BYTES))
    wide = ("source,instruction\n" + "x" * (2 * MAX_LINE_BYTES)).encode("utf-16")
    assert "line 2" in refusal(wide)


def test_a_quote_that_never_closes_is_refused_where_it_opens() -> None:
    assert "line 3" in refusal(b'source,instruction\na.mp4,x\nb.mp4,"y\nc.mp4,z\n')
    assert "line 2" in refusal(b'source,instruction\na.mp4,"y\n' + b"c.mp4,z\n" * 50_000)


def test_too_many_rows_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edits.spreadsheet.MAX_RECORDS", 2)
    assert "more than 2 rows" in refusal(b"source,instruction\na,b\nc,d\ne,f\n")


def test_too_many_bytes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edits.spreadsheet.MAX_BYTES", 10)
    assert "at most" in refusal(b"source,instruction\na,b\n")


def test_reading_leaves_the_csv_modules_global_limit_alone() -> None:
    before = csv.field_size_limit()
    read(f"source,instruction\na.mp4,{'x' * 70_000}\n")
    assert csv.field_size_limit() == before


def test_the_identity_is_that_of_the_bytes() -> None:
    text = "source,instruction\na.mp4,x\n"
    assert read(text).manifest_id == read_manifest(text.encode(), "other name").manifest_id
    assert read(text).manifest_id != read(text, "utf-8-sig").manifest_id
    assert len(read(text).manifest_id) == 16


PIECES = [
    "source,instruction",
    "\n",
    "\r\n",
    "\r",
    ",",
    ";",
    "\t",
    '"',
    '""',
    "é",
    "\x0c",
    "\u2028",
    "a.mp4",
    " ",
    "\ufeff",
]


@given(
    st.lists(st.sampled_from(PIECES), max_size=30),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
    st.binary(max_size=8),
)
def test_any_bytes_at_all_are_a_manifest_or_a_manifest_error(pieces: list[str], encoding: str, tail: bytes) -> None:
    data = ("source,instruction\n" + "".join(pieces)).encode(encoding) + tail
    try:
        manifest = read_manifest(data, "jobs.csv")
    except ManifestError:
        return
    assert manifest.records or manifest.errors
    assert all(len(record.fields) == len(manifest.header) for record in manifest.records)
