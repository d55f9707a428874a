"""docs/settings.md lists what can be set, no more and no less."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from edits.settings import Settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def test_the_page_has_every_setting_with_its_variable() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `[")]
    expected = []
    for field in dataclasses.fields(Settings):
        table, _, key = field.metadata["place"].partition(".")
        expected.append(f"| `[{table}] {key}` | `SAMAFLOW_{field.name.upper()}` |")
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected
