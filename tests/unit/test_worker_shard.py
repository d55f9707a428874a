"""Where a shard lies, and which shards a worker refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edits import wire
from edits.errors import RecordError, SettingsError, StoreError
from edits.job import PROTOCOL, Shard
from edits.storage import Store
from tasks.shard import ShardAddress, load_shard, shard_address


@pytest.mark.parametrize(
    ("uri", "store"),
    [
        ("file:///data/a%20store/dispatches/d-1/12.json", "file:///data/a%20store"),
        ("s3://bucket/prefix/dispatches/d-1/12.json", "s3://bucket/prefix"),
        ("/data/store/dispatches/d-1/12.json", "/data/store"),
        ("s3://bucket/dispatches/old/dispatches/d-1/12.json", "s3://bucket/dispatches/old"),
    ],
)
def test_a_shards_uri_holds_its_store(uri: str, store: str) -> None:
    assert shard_address(uri, {}) == ShardAddress(store, "d-1", 12)


def test_after_a_slash_comes_the_completion_index() -> None:
    address = shard_address("s3://bucket/dispatches/d-1/", {"JOB_COMPLETION_INDEX": "7"})
    assert address == ShardAddress("s3://bucket", "d-1", 7)


@pytest.mark.parametrize("index", ["", "x", "-1", "../0"])
def test_after_a_slash_an_index_is_needed(index: str) -> None:
    with pytest.raises(SettingsError, match="JOB_COMPLETION_INDEX"):
        shard_address("s3://bucket/dispatches/d-1/", {"JOB_COMPLETION_INDEX": index})


@pytest.mark.parametrize("uri", ["", "s3://bucket/0.json", "s3://b/dispatches/d/x.json", "s3://b/dispatches/../0.json"])
def test_another_uri_is_refused(uri: str) -> None:
    with pytest.raises(SettingsError, match="a shard is"):
        shard_address(uri, {})


SHARD = Shard(PROTOCOL, "d", 0, "grade", "1", "builtin", "", ())


def put(folder: Path, data: bytes) -> Store:
    store = Store(str(folder))
    store.put_bytes("dispatches/d/0.json", data)
    return store


def test_a_shard_comes_back_as_it_was_written(tmp_path: Path) -> None:
    assert load_shard(put(tmp_path, wire.dump(SHARD)), ShardAddress("", "d", 0)) == SHARD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": 2, "new_field": 1}, "worker protocol 2, this worker speaks 1"),
        ({"protocol": "1"}, "worker protocol 1"),
        ({"index": 1}, "is shard 1 of dispatch 'd'"),
        ({"dispatch_id": "e"}, "is shard 0 of dispatch 'e'"),
        ({"new_field": 1}, "not a valid Shard record: new_field"),
    ],
)
def test_another_shard_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    data = json.dumps(json.loads(wire.dump(SHARD)) | change).encode()
    with pytest.raises(RecordError, match=message):
        load_shard(put(tmp_path, data), ShardAddress("", "d", 0))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"\xff"])
def test_what_is_no_shard_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(RecordError, match=r"dispatches/d/0\.json: not a valid Shard"):
        load_shard(put(tmp_path, data), ShardAddress("", "d", 0))


def test_a_missing_shard_and_a_missing_store_differ(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(RecordError, match="not in the store"):
        load_shard(Store(str(tmp_path / "store")), ShardAddress("", "d", 0))
    with pytest.raises(StoreError, match="is its disk mounted"):
        load_shard(Store(str(tmp_path / "gone")), ShardAddress("", "d", 0))
