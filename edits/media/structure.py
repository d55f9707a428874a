"""What a file says of its own length: the cheapest proof that it was cut short. Bytes only, no demuxer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edits.errors import SourceError

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"moof", b"sidx", b"free", b"skip", b"wide", b"udta", b"meta", b"mfra"})
"""Top-level boxes of ISO 14496-12 and QuickTime; anything else at the end of a file is not taken for a box."""


def shortfall(path: Path) -> str | None:
    """None for a file as long as it says (or that does not say); else what is missing, for people."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        promised = _segment_end(file) if head.startswith(_EBML) else _boxes_end(file, size)
    if promised is None or promised <= size:
        return None
    return f"its header speaks of {promised:,} bytes, {size:,} are there"


def require_whole(path: Path) -> None:
    """Check the length of a source.

    Raises:
        SourceError: the file ends before its own header says, or cannot be read.
    """
    try:
        missing = shortfall(path)
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read: {error.strerror or error}. Check the path and its rights"
        ) from error
    if missing:
        raise SourceError(f"{path}: the file is cut short: {missing}. Copy or download it again")


def _boxes_end(file: BinaryIO, size: int) -> int | None:
    """Largest end that a top-level box claims; None for a file that does not begin with one."""
    claimed = None
    for start, length, kind in boxes(file, size):
        if kind not in _BOXES:
            break
        claimed = max(claimed or 0, start + length)
    return claimed


def boxes(file: BinaryIO, size: int) -> Iterator[tuple[int, int, bytes]]:
    """(start, length, kind) of each top-level box of a file of `size` bytes."""
    start = 0
    while start + 8 <= size:
        file.seek(start)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:
            length = size - start
        if length < 8:
            return
        yield start, length, kind
        start += length


def _segment_end(file: BinaryIO) -> int | None:
    """Where the Matroska segment ends by its own size; None when it does not state one (a live recording)."""
    file.seek(len(_EBML))
    header = _variable_length(file)
    if header is None:
        return None
    file.seek(header, 1)
    if file.read(4) != _SEGMENT:
        return None
    length = _variable_length(file)
    return None if length is None else file.tell() + length


def _variable_length(file: BinaryIO) -> int | None:
    """An EBML element size (RFC 8794, section 4); None for 'unknown' (all ones) or no size at all."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0xFF >> width)]) + file.read(width - 1), "big")
    return None if value == (1 << 7 * width) - 1 else value
