"""Packing chunks into shards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edits.job import ShardChunk
from tasks.packing import Timings, pack, packed_size


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


@given(
    chunks=st.integers(1, 5000),
    places=st.integers(1, 64),
    free_share=st.floats(0.01, 1),
    load=st.floats(0, 600),
    seconds=st.floats(0.5, 1800),
)
def test_no_place_stays_free_while_chunks_last_and_loading_is_cheap_where_there_are_chunks_enough(
    chunks: int, places: int, free_share: float, load: float, seconds: float
) -> None:
    free = max(1, int(places * free_share))
    shards, taken = packed_size(chunks, free, places, Timings(load, seconds))
    assert min(free, chunks) <= shards <= taken <= chunks
    if shards > free:
        shard_seconds = taken / shards * seconds
        assert load <= 0.06 * (load + shard_seconds) + seconds


def test_a_single_free_place_is_not_given_the_whole_backlog() -> None:
    shards, taken = packed_size(1000, 1, 64, Timings(180, 900))
    assert (shards, taken) == (3, 18)
