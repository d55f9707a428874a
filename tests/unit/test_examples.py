"""The example manifests are valid, and docs/manifest.md says what the code does."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from edits.columns import COLUMNS
from edits.errors import ManifestError, RowError
from edits.manifest import ManifestRow, read_manifest, validate_rows
from edits.settings import load_settings
from edits.trust import Trust
from tasks.catalogue import build_catalogue

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "manifest.md").read_text(encoding="utf-8")
DELIVERABLES = ("h264", "prores_422_hq", "ffv1")


def validated(data: bytes, name: str, folder: Path) -> tuple[tuple[ManifestRow, ...], tuple[RowError, ...]]:
    settings = load_settings(folder, {}, {})
    trust = Trust(settings.roots_with(folder), settings.schemes, settings.path_map)
    return validate_rows(read_manifest(data, name), build_catalogue(settings), DELIVERABLES, settings, trust, folder)


@pytest.mark.parametrize(("name", "rows"), [("demo.csv", 6), ("dailies.csv", 4)])
def test_every_row_of_the_example_manifests_is_valid(name: str, rows: int, tmp_path: Path):
    good, errors = validated((ROOT / "examples" / name).read_bytes(), name, tmp_path)
    assert [str(error) for error in errors] == []
    assert len(good) == rows


def test_the_demo_shows_three_editors_and_a_lossless_deliverable():
    lines = (ROOT / "examples" / "demo.csv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(lines))
    assert [(row["editor"], row["weights"], row["deliverable"]) for row in rows] == [
        *[("sama", "pico", "h264")] * 4,
        ("grade", "", "h264"),
        ("passthrough", "", "ffv1"),
    ]


def test_the_document_lists_every_column_as_the_code_explains_it():
    table = re.findall(r"^\| `([a-z]+)` \| (.*) \| `(.*)` \|$", DOCUMENT, re.MULTILINE)
    assert table == [(column.name, column.help, column.example) for column in COLUMNS]


def test_the_document_shows_the_messages_that_a_bad_manifest_gives(tmp_path: Path):
    bad, messages = re.findall(r"```(?:csv)?\n(.*?)\n```", DOCUMENT.split("## Rows that are wrong")[1], re.DOTALL)[:2]
    _, errors = validated(f"{bad}\n".encode(), "day.csv", tmp_path)
    assert [str(error) for error in errors] == messages.splitlines()


def test_the_document_shows_the_message_of_an_unknown_column():
    with pytest.raises(ManifestError) as found:
        read_manifest(b"source,instruction,editr\na.mp4,make it sepia,grade\n", "day.csv")
    assert str(found.value) in DOCUMENT
