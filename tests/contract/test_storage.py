"""One suite over every kind of store: a folder, a prefix on an S3 server, and one on a server that knows less of S3."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edits import wire
from edits.errors import PermanentError, RecordError, SettingsError, StoreError, TrustError
from edits.job import Marker, WorkerStatus
from edits.storage import (
    Store,
    chunk_folder,
    input_path,
    marked_path,
    marker_path,
    output_path,
    read_statuses,
    shard_path,
    status_path,
    valid_marker,
    withdraw,
    withdrawn,
    withdrawn_path,
)
from tests.fakes.rclone import rclone_server
from tests.fakes.s3 import BUCKET, ENVIRON, TroubledS3, s3_server

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with rclone_server(tmp_path_factory.mktemp("rclone")) as url:
        yield url


@pytest.fixture(params=["folder", "server", "rclone"])
def endpoint(request: pytest.FixtureRequest) -> str | None:
    """Of each kind in turn: a folder has none."""
    return None if request.param == "folder" else str(request.getfixturevalue(request.param))


@pytest.fixture
def opened(endpoint: str | None, tmp_path: Path) -> Callable[[], Store]:
    """Opens the test's store."""
    uri = (tmp_path / "a store").as_uri() if endpoint is None else f"s3://{BUCKET}/{tmp_path.name}"
    return lambda: Store(uri, endpoint_url=endpoint, pauses=())


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    return opened()


@pytest.fixture
def twin(opened: Callable[[], Store], store: Store) -> Store:
    """The same store, opened by another process as it were."""
    return opened()


def test_bytes_come_back_as_they_were_put(store: Store) -> None:
    store.put_bytes("jobs/j/plan.json", b"{}\n\0")
    assert store.read("jobs/j/plan.json") == b"{}\n\0"
    assert store.size("jobs/j/plan.json") == 4


def test_a_second_put_replaces_the_first(store: Store, twin: Store) -> None:
    store.put_bytes("jobs/j/plan.json", b"long enough")
    assert twin.read("jobs/j/plan.json") == b"long enough"
    store.put_bytes("jobs/j/plan.json", b"short")
    assert twin.read("jobs/j/plan.json") == b"short"
    assert twin.size("jobs/j/plan.json") == 5
    assert abs(twin.modified("jobs/j/plan.json") - datetime.now(UTC)) < timedelta(minutes=5)


@pytest.mark.parametrize("size", [0, 5, 3_000_000])
def test_a_file_comes_back_as_it_was_put(store: Store, tmp_path: Path, size: int) -> None:
    local = tmp_path / "in.mkv"
    local.write_bytes(b"x" * size)
    store.put_file(input_path(KEY), local)
    store.fetch(input_path(KEY), tmp_path / "out.mkv")
    assert store.size(input_path(KEY)) == size
    assert (tmp_path / "out.mkv").read_bytes() == local.read_bytes()


def test_what_is_missing_has_no_size_no_marker_and_no_status(store: Store) -> None:
    assert store.size("jobs/j/plan.json") is None
    assert store.read_or_none("jobs/j/plan.json") is None
    assert store.list("jobs") == []
    assert valid_marker(store, KEY) is None
    assert withdrawn(store, "d") == frozenset()
    assert read_statuses(store, "d", [0, 1], 0) == {}


def test_reading_what_is_missing_names_it(store: Store, tmp_path: Path) -> None:
    store.put_bytes("jobs/j/plan.json", b"{}")
    with pytest.raises(RecordError, match=r"jobs/k/plan\.json: it is not in the store"):
        store.read("jobs/k/plan.json")
    with pytest.raises(RecordError, match="not in the store"):
        store.modified("jobs/k/plan.json")
    with pytest.raises(RecordError, match="not in the store"):
        store.fetch("jobs/k/plan.json", tmp_path / "plan.json")
    assert list(tmp_path.glob("*.json")) == []


def test_a_folder_is_not_an_object(store: Store) -> None:
    store.put_bytes("jobs/j/plan.json", b"{}")
    assert store.size("jobs/j") is None


def test_deleting_twice_is_deleting_once(store: Store, twin: Store) -> None:
    store.put_bytes("jobs/j/plan.json", b"{}")
    assert twin.size("jobs/j/plan.json") == 2
    store.delete("jobs/j/plan.json")
    store.delete("jobs/j/plan.json")
    assert twin.size("jobs/j/plan.json") is None


def test_a_listing_sees_what_another_process_wrote(store: Store, twin: Store) -> None:
    store.put_bytes("jobs/j/plan.json", b"{}")
    assert twin.list("jobs") == ["jobs/j/plan.json"]
    store.put_bytes("jobs/a/plan.json", b"{}")
    store.put_bytes("inputs/a/input.json", b"{}")
    assert twin.list("jobs") == ["jobs/a/plan.json", "jobs/j/plan.json"]
    assert len(twin.list()) == 3


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a\\b", "a\0b", "a/", "x.part"])
def test_a_path_cannot_leave_the_store(store: Store, path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for call in (store.read, store.size, store.delete, store.list, store.uri, store.local):
        with pytest.raises(TrustError, match="not a path inside the store"):
            call(path)
    with pytest.raises(TrustError):
        store.put_bytes(path, b"x")
    with pytest.raises(TrustError):
        store.put_file(path, tmp_path / "file")


@pytest.mark.parametrize("key", ["", "..", "a/b", "a.b", "x" * 200])
def test_a_key_is_one_plain_word(key: str) -> None:
    for function in (input_path, chunk_folder, withdrawn_path):
        with pytest.raises(TrustError, match="is not a key"):
            function(key)


def test_the_stores_uri_opens_the_same_store(store: Store, endpoint: str | None) -> None:
    store.put_bytes("jobs/j/plan.json", b"{}")
    again = Store(store.uri(), endpoint_url=endpoint)
    assert again.uri("jobs/j/plan.json") == store.uri("jobs/j/plan.json")
    assert again.read("jobs/j/plan.json") == b"{}"


# -- markers and the other records ------------------------------------------------------------------------------------


def marked(store: Store, tmp_path: Path, data: bytes = b"edited") -> Marker:
    digest = hashlib.sha256(data).hexdigest()
    local = tmp_path / "output.mov"
    local.write_bytes(data)
    output = output_path(KEY, digest)
    store.put_file(output, local)
    marker = Marker(
        chunk_key=KEY, output=output.rpartition("/")[2], sha256=digest, size=len(data), frames=17, width=64, height=36,
        editor="grade", editor_version="1", weights_digest="", seed=0, dispatch_id="d", seconds={"edit": 0.5},
        peak_memory_bytes=1, device="cpu", versions={"python": "3.11"},
    )  # fmt: skip
    store.put_bytes(marker_path(KEY), wire.dump(marker))
    return marker


def test_a_marker_with_its_output_counts(store: Store, twin: Store, tmp_path: Path) -> None:
    assert valid_marker(twin, KEY) is None
    marker = marked(store, tmp_path)
    assert valid_marker(twin, KEY) == marker


def test_a_marker_of_an_older_worker_counts(store: Store, tmp_path: Path) -> None:
    marker = marked(store, tmp_path)
    older = replace(marker, output=marker.output.replace(".mov", ".mkv"))
    store.put_bytes(marked_path(older), store.read(marked_path(marker)))
    store.delete(marked_path(marker))
    store.put_bytes(marker_path(KEY), wire.dump(older))
    assert valid_marker(store, KEY) == older


def test_a_marker_whose_output_is_missing_does_not_count(store: Store, tmp_path: Path) -> None:
    marker = marked(store, tmp_path)
    store.delete(output_path(KEY, marker.sha256))
    assert valid_marker(store, KEY) is None


def test_a_marker_whose_output_is_of_another_size_does_not_count(store: Store, tmp_path: Path) -> None:
    marker = marked(store, tmp_path)
    store.put_bytes(output_path(KEY, marker.sha256), b"edite")
    assert valid_marker(store, KEY) is None


@pytest.mark.parametrize("change", [{"output": "../../secret.mov"}, {"chunk_key": "f" * 32}, {"output": "other.mov"}])
def test_a_marker_about_another_file_does_not_count(store: Store, tmp_path: Path, change: dict[str, str]) -> None:
    marker = replace(marked(store, tmp_path), **change)  # type: ignore[arg-type]
    store.put_bytes(marker_path(KEY), wire.dump(marker))
    assert valid_marker(store, KEY) is None


def test_a_damaged_marker_does_not_count(store: Store) -> None:
    store.put_bytes(marker_path(KEY), b'{"chunk_key": "')
    assert valid_marker(store, KEY) is None


def test_withdrawing_adds_to_what_was_withdrawn(store: Store, twin: Store) -> None:
    withdraw(store, "d", ["b", "a"])
    withdraw(store, "d", {"c"})
    assert withdrawn(twin, "d") == {"a", "b", "c"}
    assert withdrawn(twin, "e") == frozenset()


def test_statuses_are_those_of_one_attempt(store: Store) -> None:
    status = WorkerStatus(
        dispatch_id="d", index=1, attempt=0, state="editing", done=(), edited=(), failed=(), current=KEY, step=1,
        steps=4, gpu_seconds=1.5, device="cpu", peak_memory_bytes=1, updated_at=2.5, exit_code=None,
    )  # fmt: skip
    store.put_bytes(status_path("d", 1, 0), wire.dump(status))
    assert read_statuses(store, "d", range(3), 0) == {1: status}
    assert read_statuses(store, "d", range(3), 1) == {}
    assert shard_path("d", 1) == "dispatches/d/1.json"


# -- a folder ---------------------------------------------------------------------------------------------------------


def test_a_folder_that_went_away_is_worth_another_try(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "unmounted"))
    with pytest.raises(StoreError, match="is its disk mounted"):
        store.read("jobs/j/plan.json")


def test_a_folder_keeps_the_umask_of_its_user(tmp_path: Path) -> None:
    Store(str(tmp_path)).put_bytes("jobs/j/plan.json", b"{}")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "jobs/j/plan.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_full_disk_is_named_with_the_room_that_was_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match=r"cannot write file:///.*/plan\.json: no space left for 3 bytes"):
        Store(str(tmp_path)).put_bytes("jobs/j/plan.json", b"abc")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_put_that_fails_leaves_the_old_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path), pauses=())
    store.put_bytes("jobs/j/plan.json", b"old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.put_bytes("jobs/j/plan.json", b"new")
    assert store.read("jobs/j/plan.json") == b"old"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["plan.json"]


def test_a_file_where_a_folder_should_be_is_permanent(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_bytes(b"")
    with pytest.raises(PermanentError, match="cannot write"):
        Store(str(tmp_path)).put_bytes("jobs/j/plan.json", b"{}")


@pytest.mark.parametrize(
    "uri", ["relative/folder", "gs://bucket", "s3://", "s3:///x", "s3://b/../c", "file://host/x", ""]
)
def test_a_uri_that_is_no_store_is_refused(uri: str) -> None:
    with pytest.raises(SettingsError, match="a store is"):
        Store(uri)


# -- S3 in trouble ----------------------------------------------------------------------------------------------------


@pytest.fixture
def troubled(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TroubledS3]:
    with TroubledS3(server) as proxy:
        yield proxy


def through(proxy: TroubledS3, tmp_path: Path) -> Store:
    return Store(f"s3://{BUCKET}/{tmp_path.name}", endpoint_url=proxy.url, pauses=(0.001, 0.001))


@pytest.mark.parametrize("fault", ["slow_down", "bad_gateway", "reset"])
def test_a_store_in_trouble_is_asked_again(troubled: TroubledS3, tmp_path: Path, fault: str) -> None:
    store = through(troubled, tmp_path)
    troubled.faults.extend([fault, fault])
    store.put_bytes("jobs/j/plan.json", b"{}")
    troubled.faults.extend([fault, fault])
    assert store.read("jobs/j/plan.json") == b"{}"
    troubled.faults.extend([fault])
    assert store.size("jobs/j/plan.json") == 2


@pytest.mark.parametrize("fault", ["slow_down", "bad_gateway", "reset"])
def test_a_store_that_stays_in_trouble_is_a_store_error(troubled: TroubledS3, tmp_path: Path, fault: str) -> None:
    store = through(troubled, tmp_path)
    troubled.faults.extend([fault] * 9)  # a client library may repeat a request of its own accord
    with pytest.raises(StoreError, match=r"cannot write s3://.*/jobs/j/plan\.json: no answer"):
        store.put_bytes("jobs/j/plan.json", b"{}")
    troubled.faults.clear()
    assert store.size("jobs/j/plan.json") is None


def test_an_answer_cut_in_half_is_not_taken(troubled: TroubledS3, tmp_path: Path) -> None:
    store = through(troubled, tmp_path)
    local = tmp_path / "in.mkv"
    local.write_bytes(b"x" * 300_000)
    store.put_file(input_path(KEY), local)
    troubled.faults.extend(["", "half"])
    store.fetch(input_path(KEY), tmp_path / "out.mkv")
    assert (tmp_path / "out.mkv").read_bytes() == local.read_bytes()
    troubled.faults.extend(["", *["half"] * 9])
    with pytest.raises(StoreError):
        store.fetch(input_path(KEY), tmp_path / "never.mkv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mkv", "out.mkv"]


def test_an_answer_that_comes_slowly_is_whole(troubled: TroubledS3, tmp_path: Path) -> None:
    store = through(troubled, tmp_path)
    local = tmp_path / "in.mkv"
    local.write_bytes(bytes(range(256)) * 1000)
    store.put_file(input_path(KEY), local)
    troubled.faults.extend(["slow", "slow"])
    store.fetch(input_path(KEY), tmp_path / "out.mkv")
    assert not troubled.faults
    assert (tmp_path / "out.mkv").read_bytes() == local.read_bytes()


def test_a_refusal_is_permanent_and_not_repeated(troubled: TroubledS3, tmp_path: Path) -> None:
    store = through(troubled, tmp_path)
    troubled.faults.append("denied")
    with pytest.raises(PermanentError, match="permission denied"):
        store.put_bytes("jobs/j/plan.json", b"{}")
    assert len(troubled.requests) == 1


def test_a_missing_bucket_is_permanent(server: str) -> None:
    store = Store("s3://no-such-bucket", endpoint_url=server)
    with pytest.raises(PermanentError, match="no such bucket"):
        store.put_bytes("jobs/j/plan.json", b"{}")
    with pytest.raises(PermanentError, match="no such bucket"):
        store.read("jobs/j/plan.json")


def test_a_server_that_is_down_is_a_store_error() -> None:
    store = Store(f"s3://{BUCKET}", endpoint_url="http://127.0.0.1:9", pauses=())
    with pytest.raises(StoreError, match="no answer"):
        store.read("jobs/j/plan.json")
