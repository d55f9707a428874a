"""Real worker processes on real stores: what they leave behind when they end, are stopped or are killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from edits.job import Sampling, ShardChunk
from edits.storage import Store, input_path, valid_marker, withdraw
from sama_model.cards import card
from tests.fakes.s3 import BUCKET, ENVIRON, s3_server
from tests.fakes.shards import DISPATCH, command, edited, noise, put_chunk, put_shard, run_worker, status_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store((tmp_path / "a store").as_uri())


def chunks_of(store: Store, folder: Path, count: int, **facts: Any) -> list[ShardChunk]:
    return [put_chunk(store, folder, number, **facts) for number in range(count)]


def slow_chunks(store: Store, folder: Path, count: int) -> list[ShardChunk]:
    """Chunks that `sama` tiny would edit for hours."""
    sampling = Sampling(steps=100_000, guidance=1.0, shift=3.0)
    return [put_chunk(store, folder, number, noise(number, 5, 32, 32), "a robot", sampling) for number in range(count)]


@contextmanager
def started(store: Store, *arguments: str, stdin: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command(store, *arguments), stdout=subprocess.PIPE, stdin=stdin)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stdin):
            if stream is not None:
                stream.close()


def wait_for(stream: IO[bytes] | None, event: str, times: int = 1) -> None:
    """Read event lines until `event` has come so often."""
    assert stream is not None
    for line in stream:
        times -= json.loads(line)["event"] == event
        if times == 0:
            return
    raise AssertionError(f"the worker ended before '{event}'")


def markers(store: Store, chunks: list[ShardChunk]) -> int:
    return sum(valid_marker(store, chunk.chunk_key) is not None for chunk in chunks)


def test_a_shard_is_drained_and_a_second_worker_edits_nothing(store: Store, tmp_path: Path) -> None:
    chunks = chunks_of(store, tmp_path, 3)
    put_shard(store, chunks)
    code, events = run_worker(store)
    assert code == 0
    assert [event["event"] for event in events].count("chunk_done") == 3
    for number, chunk in enumerate(chunks):
        assert np.array_equal(edited(store, chunk, tmp_path), 255 - noise(number))
    outputs = store.list("chunks")
    code, events = run_worker(store, "--attempt", "1")
    assert code == 0
    assert [event["event"] for event in events] == ["shard_loaded", "finished"]
    assert store.list("chunks") == outputs
    assert len(status_of(store, attempt=1).done) == 3
    assert status_of(store, attempt=1).edited == ()


def test_a_shard_on_s3_is_drained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    with s3_server() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        store = Store(f"s3://{BUCKET}/prefix")
        chunks = chunks_of(store, tmp_path, 2)
        put_shard(store, chunks)
        assert run_worker(store)[0] == 0
        assert np.array_equal(edited(store, chunks[1], tmp_path), 255 - noise(1))
        assert status_of(store).exit_code == 0


def test_two_workers_on_one_shard_do_no_harm(store: Store, tmp_path: Path) -> None:
    chunks = chunks_of(store, tmp_path, 6)
    put_shard(store, chunks)
    with started(store) as one, started(store, "--attempt", "1") as two:
        assert (one.communicate()[0] is not None, two.communicate()[0] is not None) == (True, True)
        assert (one.returncode, two.returncode) == (0, 0)
    for number, chunk in enumerate(chunks):
        assert np.array_equal(edited(store, chunk, tmp_path), 255 - noise(number))


def test_after_a_kill_only_the_missing_chunks_are_edited(store: Store, tmp_path: Path) -> None:
    chunks = chunks_of(store, tmp_path, 40)
    put_shard(store, chunks)
    with started(store) as process:
        wait_for(process.stdout, "chunk_done", times=2)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    done = markers(store, chunks)
    assert 2 <= done < 40
    code, events = run_worker(store, "--attempt", "1")
    assert code == 0
    assert [event["event"] for event in events].count("chunk_done") == 40 - done
    assert len(status_of(store, attempt=1).edited) == 40 - done
    assert markers(store, chunks) == 40
    assert {Path(path).suffix for path in store.list()} == {".mov", ".json"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_asked_to_stop_ends_in_the_middle_of_an_edit(store: Store, tmp_path: Path, number: int) -> None:
    chunks = slow_chunks(store, tmp_path, 2)
    put_shard(store, chunks, "sama")
    with started(store) as process:
        wait_for(process.stdout, "chunk_started")
        process.send_signal(number)
        assert process.wait(timeout=5) == 143
    status = status_of(store)
    assert (status.state, status.exit_code, status.current) == ("stopped", 143, chunks[0].chunk_key)
    assert markers(store, chunks) == 0


def test_a_worker_ends_when_its_parent_is_gone(store: Store, tmp_path: Path) -> None:
    put_shard(store, slow_chunks(store, tmp_path, 1), "sama")
    with started(store, "--parent-pipe", stdin=subprocess.PIPE) as process:
        wait_for(process.stdout, "chunk_started")
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=5) == 143


def test_a_damaged_input_fails_its_chunk_alone(store: Store, tmp_path: Path) -> None:
    chunks = chunks_of(store, tmp_path, 3)
    put_shard(store, chunks)
    damaged = store.local(input_path(chunks[1].input_key))
    assert damaged is not None
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    assert run_worker(store)[0] == 64
    status = status_of(store)
    assert [(failure.chunk_key, failure.category) for failure in status.failed] == [
        (chunks[1].chunk_key, "verification")
    ]
    assert "sha256" in status.failed[0].message
    assert markers(store, chunks) == 2


def test_an_input_that_is_no_video_is_permanent(store: Store, tmp_path: Path) -> None:
    chunks = chunks_of(store, tmp_path, 1)
    store.put_bytes(input_path(chunks[0].input_key), b"no video")
    put_shard(store, [replace(chunks[0], input_sha256=hashlib.sha256(b"no video").hexdigest())])
    assert run_worker(store)[0] == 64
    assert not status_of(store).failed[0].transient


def test_an_unknown_instruction_is_permanent_and_lists_the_known_ones(store: Store, tmp_path: Path) -> None:
    chunks = [put_chunk(store, tmp_path, 0), put_chunk(store, tmp_path, 1, instruction="make it purple")]
    put_shard(store, chunks)
    assert run_worker(store)[0] == 64
    (failure,) = status_of(store).failed
    assert (failure.chunk_key, failure.category, failure.transient) == (chunks[1].chunk_key, "instruction", False)
    assert "invert" in failure.message
    assert markers(store, chunks) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"editor_version": "0"}, "plan again"),
        ({"weights_digest": "0" * 64}, "plan again"),
        ({"weights": "14b"}, "14b"),
        ({"editor": "no_such_editor"}, "no_such_editor"),
    ],
)
def test_another_editor_than_planned_edits_nothing(
    store: Store, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    chunks = chunks_of(store, tmp_path, 2)
    put_shard(store, chunks, "grade", **changes)
    assert run_worker(store)[0] == 64
    status = status_of(store)
    assert [failure.chunk_key for failure in status.failed] == [chunk.chunk_key for chunk in chunks]
    assert message in status.failed[0].message
    assert markers(store, chunks) == 0


def test_another_protocol_is_refused_with_the_reason_in_the_status(store: Store, tmp_path: Path) -> None:
    put_shard(store, chunks_of(store, tmp_path, 1), protocol=2)
    assert run_worker(store)[0] == 64
    status = status_of(store)
    assert (status.state, status.exit_code) == ("failed", 64)
    assert "protocol 2" in status.problem


def test_withdrawn_chunks_are_skipped(store: Store, tmp_path: Path) -> None:
    chunks = chunks_of(store, tmp_path, 3)
    put_shard(store, chunks)
    withdraw(store, DISPATCH, [chunk.chunk_key for chunk in chunks[1:]])
    assert run_worker(store)[0] == 0
    assert status_of(store).done == (chunks[0].chunk_key,)
    assert markers(store, chunks) == 1


def test_a_store_that_is_down_is_worth_another_try(tmp_path: Path) -> None:
    code, events = run_worker(Store(str(tmp_path / "not mounted")))
    assert code == 75
    assert events[-1]["event"] == "failed"
    assert "is its disk mounted" in events[-1]["message"]


@pytest.mark.slow
def test_an_s3_that_does_not_answer_is_worth_another_try() -> None:
    environ = os.environ | ENVIRON | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    code, events = run_worker(Store(f"s3://{BUCKET}"), environ=environ)
    assert code == 75
    assert "no answer" in events[-1]["message"]


def test_the_completion_index_names_the_shard(store: Store, tmp_path: Path) -> None:
    put_shard(store, chunks_of(store, tmp_path, 1))
    folder = store.uri(f"dispatches/{DISPATCH}") + "/"
    environ = os.environ | {"JOB_COMPLETION_INDEX": "0"}
    ended = subprocess.run(
        [sys.executable, "-m", "tasks.gpu", folder], env=environ, check=False, stdout=subprocess.DEVNULL
    )
    assert ended.returncode == 0
    assert status_of(store).exit_code == 0


def test_a_call_that_names_no_shard_is_refused() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tasks.gpu", "s3://bucket/x.json"], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 64
    assert "a shard is" in ended.stderr


def test_the_worker_loads_no_torch_for_grade_and_never_the_flow_side(store: Store, tmp_path: Path) -> None:
    put_shard(store, chunks_of(store, tmp_path, 1))
    uri = command(store)[3]
    script = (
        "import sys; from tasks.gpu import main; code = main([sys.argv[1]]);"
        "bad = {'torch', 'prefect', 'sqlalchemy', 'kubernetes', 'sql', 's3fs'} & sys.modules.keys();"
        "sys.exit(f'{code} {bad}' if code or bad else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", script, uri], check=False, stdout=subprocess.DEVNULL)
    assert ended.returncode == 0


def test_a_prompt_that_is_cut_is_in_the_marker_and_fails_where_prompts_are_strict(store: Store, tmp_path: Path) -> None:
    sampling = Sampling(steps=1, guidance=1.0, shift=3.0)
    chunk = put_chunk(store, tmp_path, 0, noise(0, 5, 32, 32), "a" * 600, sampling)
    put_shard(store, [chunk], "sama")
    assert run_worker(store, environ=os.environ | {"SAMAFLOW_STRICT_PROMPTS": "true"})[0] == 64
    (failure,) = status_of(store).failed
    assert failure.category == "instruction"
    assert "leave out --strict-prompts" in failure.message
    assert run_worker(store)[0] == 0
    marker = valid_marker(store, chunk.chunk_key)
    assert marker is not None
    assert marker.cut_tokens == 600 + len("[Video edit] ") + 1 - 512


def test_a_model_edits_a_chunk_and_the_marker_says_with_what(store: Store, tmp_path: Path) -> None:
    sampling = Sampling(steps=2, guidance=1.0, shift=3.0)
    chunk = put_chunk(store, tmp_path, 0, noise(0, 5, 32, 32), "a robot", sampling)
    put_shard(store, [chunk], "sama")
    assert run_worker(store)[0] == 0
    marker = valid_marker(store, chunk.chunk_key)
    assert marker is not None
    assert marker.versions.keys() == {"python", "samaflow", "torch", "diffusers"}
    assert (marker.editor, marker.weights_digest) == ("sama", card("sama", "tiny").digest)
    assert edited(store, chunk, tmp_path).shape == (5, 32, 32, 3)
    assert status_of(store).gpu_seconds >= marker.seconds["edit"]
