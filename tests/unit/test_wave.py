"""Packing chunks into shards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edits.job import ShardChunk
from tasks.wave import pack


def chunk(number: int, group: str = "", first_latent: int = 0) -> ShardChunk:
    facts = ("0" * 64, 17, 16, 16, "paint it", 0, None)
    return ShardChunk(f"key{number}", f"in{number}", *facts, first_latent, group, 3 if group else 1)


@given(chunks=st.integers(1, 200), shards=st.integers(1, 16))
def test_every_chunk_is_in_exactly_one_shard_in_order_and_shards_are_even(chunks: int, shards: int) -> None:
    packed = pack([chunk(number) for number in range(chunks)], shards)
    assert [member.chunk_key for groups in packed for group in groups for member in group] == [
        f"key{number}" for number in range(chunks)
    ]
    sizes = [len(groups) for groups in packed]
    assert len(packed) == min(chunks, shards)
    assert max(sizes) - min(sizes) <= 1


def test_windows_of_a_shot_are_one_group_in_the_order_of_the_shot() -> None:
    shot = [chunk(3, "a", 6), chunk(1, "a", 0), chunk(2, "a", 3)]
    first, second = pack([chunk(0), *shot, chunk(4)], 2)
    assert [[member.chunk_key for member in group] for group in first] == [["key0"]]
    assert [[member.chunk_key for member in group] for group in second] == [["key1", "key2", "key3"], ["key4"]]
