"""The digest of each stream's packets, without decoding any: what stays of a film when its wrapping is changed."""

from __future__ import annotations

from pathlib import Path

from edits.media.audio import StreamSum
from edits.media.reader import Source
from edits.media.records import Limits, StreamDigest


def stream_digests(path: Path, limits: Limits) -> tuple[StreamDigest, ...]:
    """One digest a stream, in the file's order, as `edits.media.verify` makes them.

    Raises:
        SourceError: no video that can be read.
    """
    with Source(path, limits) as source:
        sums = {stream.index: StreamSum(stream) for stream in source.container.streams}
        for packet in source.packets():
            if packet.size:
                sums[packet.stream_index].add(packet)
        return tuple(entry.digest() for entry in sums.values())
