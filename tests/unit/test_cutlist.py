"""Cut lists: nothing that is written in one is passed over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edits.cutlist import read_cuts
from edits.errors import SourceError
from edits.timecode import parse_position


@pytest.mark.parametrize(
    "text",
    ["f25\nf30\n", "Cut\nf25\n\nf30\n", "position;reel\nf25;A001\nf30;\n", '\ufeff"f25"\r\n"f30"\r\n'],
    ids=["plain", "headed", "columns under a heading", "as spreadsheets write it"],
)
def test_positions_are_read_in_the_shapes_they_come_in(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cuts.csv"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_cuts(path) == (parse_position("f25"), parse_position("f30"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("f25,f30\n", "line 1: 'f25,f30': more than one position"),
        ("f10\nf25;f30\n", "line 2: 'f25;f30': more than one position"),
        ("f10\n,f30\n", "line 2: ',f30': more than one position"),
        ("hello,zz\n,,\n", "no position is in it"),
        ("", "no position is in it"),
        ("f10\nnoon\n", "line 2: 'noon'"),
    ],
)
def test_a_list_that_would_lose_a_cut_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "cuts.csv"
    path.write_text(text)
    with pytest.raises(SourceError, match=re.escape(said)):
        read_cuts(path)
