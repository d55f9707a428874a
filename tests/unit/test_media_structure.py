"""Files that are shorter than they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from edits.errors import SourceError
from edits.media.structure import require_whole, shortfall


def box(kind: bytes, length: int, claimed: int | None = None) -> bytes:
    return (claimed or length + 8).to_bytes(4, "big") + kind + bytes(length)


EBML = b"\x1a\x45\xdf\xa3\x84" + bytes(4)
WIDE_SIZE = b"\x00\x00\x00\x01mdat" + (16 + 100).to_bytes(8, "big")


@pytest.mark.parametrize(
    ("data", "missing"),
    [
        (box(b"ftyp", 8) + box(b"mdat", 100), None),
        (box(b"ftyp", 8) + box(b"mdat", 50, claimed=108), "124 bytes, 74 are there"),
        (box(b"ftyp", 8) + WIDE_SIZE + bytes(100), None),
        (box(b"ftyp", 8) + WIDE_SIZE + bytes(99), "132 bytes, 131 are there"),
        (box(b"ftyp", 8) + b"\x00\x00\x00\x00mdat" + bytes(3), None),
        (box(b"ftyp", 8) + box(b"\x07\x08\x09\x0a", 4, claimed=99_999), None),
        (EBML + b"\x18\x53\x80\x67\x8a" + bytes(10), None),
        (EBML + b"\x18\x53\x80\x67\x8a" + bytes(4), "24 bytes, 18 are there"),
        (EBML + b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" + bytes(4), None),
        (b"hello, I am not a video\n", None),
        (b"", None),
    ],
    ids=[
        "whole",
        "cut",
        "wide",
        "wide cut",
        "to the end",
        "no box",
        "ebml",
        "ebml cut",
        "live",
        "text",
        "empty",
    ],
)
def test_a_file_is_held_against_its_own_header(tmp_path: Path, data: bytes, missing: str | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    found = shortfall(path)
    assert found is None if missing is None else missing in str(found)


def test_a_missing_file_is_a_source_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nowhere\.mp4: cannot be read"):
        require_whole(tmp_path / "nowhere.mp4")
