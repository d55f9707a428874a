"""Packing chunks into shards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edits.job import ShardChunk
from tasks.wave import pack


def chunk(number: int) -> ShardChunk:
    return ShardChunk(f"key{number}", f"in{number}", "0" * 64, 17, 16, 16, "paint it", 0, None, 0)


@given(chunks=st.integers(1, 200), shards=st.integers(1, 16))
def test_every_chunk_is_in_exactly_one_shard_in_order_and_shards_are_even(chunks: int, shards: int) -> None:
    packed = pack([chunk(number) for number in range(chunks)], shards)
    assert [member.chunk_key for groups in packed for group in groups for member in group] == [
        f"key{number}" for number in range(chunks)
    ]
    sizes = [len(groups) for groups in packed]
    assert len(packed) == min(chunks, shards)
    assert max(sizes) - min(sizes) <= 1
