"""The worker's loop over one shard, in this process, with editors that misbehave: what is edited, marked and said."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edits.job import Shard, ShardChunk
from edits.storage import Store, input_path, marker_path, status_path, valid_marker, withdraw
from sama_model.config import Options
from sama_model.editors.base import Checkpoint, EditRequest, Frames, Progress
from tasks import gpu
from tasks.board import Board
from tasks.gpu import Worker
from tests.fakes.shards import DISPATCH, ScriptedEditor, edited, noise, put_chunk, put_shard, status_of

Act = Callable[[EditRequest, Progress], Frames | None]
OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {"__module__": "torch"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), pauses=())


@pytest.fixture
def chunks(store: Store, tmp_path: Path) -> list[ShardChunk]:
    return [put_chunk(store, tmp_path, number) for number in range(3)]


@pytest.fixture
def drain(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Shard, ScriptedEditor], int]:
    """Drain a shard with an editor; the exit code."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def run(shard: Shard, editor: ScriptedEditor) -> int:
        monkeypatch.setattr(gpu, "load_editor", lambda shard, options: editor)
        code = Worker(store, shard, Board(store, DISPATCH, 0, 0), scratch, Options()).run()
        assert list(scratch.iterdir()) == []
        return code

    return run


Drain = Callable[[Shard, ScriptedEditor], int]


def on_call(number: int, act: Act) -> ScriptedEditor:
    """An editor that does `act` on its call number `number`, and inverts on the others."""
    editor = ScriptedEditor()
    editor.act = lambda request, progress: act(request, progress) if editor.calls == number else None
    return editor


def raising(error: BaseException) -> Act:
    def act(request: EditRequest, progress: Progress) -> Frames | None:
        raise error

    return act


def test_every_chunk_is_edited_and_marked(store: Store, chunks: list[ShardChunk], drain: Drain, tmp_path: Path) -> None:
    shard = put_shard(store, chunks)
    assert drain(shard, ScriptedEditor()) == 0
    for number, chunk in enumerate(chunks):
        assert np.array_equal(edited(store, chunk, tmp_path), 255 - noise(number))
    marker = valid_marker(store, chunks[0].chunk_key)
    assert marker is not None
    assert set(marker.seconds) == {"get", "edit", "write", "put"}
    assert set(marker.versions) >= {"python", "samaflow"}
    assert (marker.device, marker.frames, marker.dispatch_id) == ("cpu", 5, DISPATCH)
    assert marker.peak_memory_bytes > 0
    status = status_of(store)
    keys = tuple(chunk.chunk_key for chunk in chunks)
    assert (status.state, status.exit_code, status.done, status.edited) == ("done", 0, keys, keys)
    assert (status.failed, status.current) == ((), "")
    assert status.gpu_seconds > 0


def test_the_events_are_json_lines(
    store: Store, chunks: list[ShardChunk], drain: Drain, capsys: pytest.CaptureFixture[str]
) -> None:
    drain(put_shard(store, chunks[:1]), ScriptedEditor())
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert events == ["shard_loaded", "loading", "chunk_started", "chunk_done", "finished"]


def test_marked_chunks_are_not_edited_and_need_no_editor(store: Store, chunks: list[ShardChunk], drain: Drain) -> None:
    drain(put_shard(store, chunks[:1]), ScriptedEditor())
    editor = ScriptedEditor()
    assert drain(put_shard(store, chunks), editor) == 0
    assert editor.calls == 2
    assert len(status_of(store).done) == 3
    assert len(status_of(store).edited) == 2
    assert drain(put_shard(store, chunks), editor) == 0
    assert editor.calls == 2
    assert status_of(store).gpu_seconds == 0


def test_a_bad_chunk_never_stops_the_shard(store: Store, chunks: list[ShardChunk], drain: Drain) -> None:
    assert drain(put_shard(store, chunks), on_call(2, raising(ValueError("T must be 4k+1")))) == 64
    status = status_of(store)
    assert [failure.chunk_key for failure in status.failed] == [chunks[1].chunk_key]
    assert (status.failed[0].category, status.failed[0].transient) == ("permanent", False)
    assert "4k+1" in status.failed[0].message
    assert status.done == (chunks[0].chunk_key, chunks[2].chunk_key)
    assert (status.state, status.exit_code) == ("failed", 64)
    assert valid_marker(store, chunks[1].chunk_key) is None


def test_a_device_without_memory_is_said_and_the_rest_goes_on(
    store: Store, chunks: list[ShardChunk], drain: Drain
) -> None:
    assert drain(put_shard(store, chunks), on_call(1, raising(OutOfMemoryError("CUDA out of memory")))) == 76
    status = status_of(store)
    assert [(failure.category, failure.transient) for failure in status.failed] == [("device_memory", True)]
    assert len(status.done) == 2


def test_a_broken_device_ends_the_shard(store: Store, chunks: list[ShardChunk], drain: Drain) -> None:
    editor = on_call(2, raising(RuntimeError("CUDA error: an illegal memory access was encountered")))
    assert drain(put_shard(store, chunks), editor) == 75
    status = status_of(store)
    assert editor.calls == 2
    assert [failure.chunk_key for failure in status.failed] == [chunk.chunk_key for chunk in chunks[1:]]
    assert {failure.category for failure in status.failed} == {"device"}


def test_an_editor_that_cannot_be_loaded_fails_every_missing_chunk(
    store: Store, chunks: list[ShardChunk], drain: Drain, tmp_path: Path
) -> None:
    drain(put_shard(store, chunks[:1]), ScriptedEditor())
    shard = put_shard(store, chunks)

    def unloadable(shard: Shard, options: Options) -> ScriptedEditor:
        raise ModuleNotFoundError("No module named 'torch'")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "load_editor", unloadable)
        code = Worker(store, shard, Board(store, DISPATCH, 0, 1), tmp_path / "scratch", Options()).run()
    assert code == 64
    status = status_of(store, attempt=1)
    assert status.done == (chunks[0].chunk_key,)
    assert [failure.chunk_key for failure in status.failed] == [chunk.chunk_key for chunk in chunks[1:]]


@pytest.mark.parametrize("wrong", [noise(0, frames=4), noise(0, width=30), np.zeros((5, 16, 32), np.uint8)])
def test_an_output_of_another_shape_is_not_stored(
    store: Store, chunks: list[ShardChunk], drain: Drain, wrong: Frames
) -> None:
    assert drain(put_shard(store, chunks[:1]), on_call(1, lambda request, progress: wrong)) == 64
    assert status_of(store).failed[0].category == "verification"
    assert store.list("chunks") == []


def test_a_file_that_reads_back_otherwise_is_not_stored(
    store: Store, chunks: list[ShardChunk], drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edits.media import chunkfile

    write = chunkfile.write_chunk
    monkeypatch.setattr(chunkfile, "write_chunk", lambda path, frames: write(path, frames & 254))
    assert drain(put_shard(store, chunks[:1]), ScriptedEditor()) == 64
    assert "holds other frames" in status_of(store).failed[0].message
    assert store.list("chunks") == []


def test_a_damaged_input_fails_its_chunk_alone(store: Store, chunks: list[ShardChunk], drain: Drain) -> None:
    bad = replace(chunks[1], input_sha256="0" * 64)
    assert drain(put_shard(store, [chunks[0], bad, chunks[2]]), ScriptedEditor()) == 64
    status = status_of(store)
    assert [failure.chunk_key for failure in status.failed] == [bad.chunk_key]
    assert status.failed[0].category == "verification"
    assert len(status.done) == 2


def test_a_missing_input_says_to_split_again(store: Store, chunks: list[ShardChunk], drain: Drain) -> None:
    store.delete(input_path(chunks[0].input_key))
    assert drain(put_shard(store, chunks[:1]), ScriptedEditor()) == 64
    assert "split it again" in status_of(store).failed[0].message


def test_an_input_of_another_length_than_planned_is_refused(
    store: Store, chunks: list[ShardChunk], drain: Drain
) -> None:
    editor = ScriptedEditor()
    assert drain(put_shard(store, [replace(chunks[0], frames=9)]), editor) == 64
    assert editor.calls == 0


def test_withdrawn_chunks_are_skipped(store: Store, chunks: list[ShardChunk], drain: Drain) -> None:
    withdraw(store, DISPATCH, [chunks[0].chunk_key, chunks[2].chunk_key])
    editor = ScriptedEditor()
    assert drain(put_shard(store, chunks), editor) == 0
    assert editor.calls == 1
    assert status_of(store).done == (chunks[1].chunk_key,)
    assert status_of(store).failed == ()


def test_a_chunk_withdrawn_during_its_edit_is_left(
    store: Store, chunks: list[ShardChunk], drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "LOOK_SECONDS", 0.01)

    def endless(request: EditRequest, progress: Progress) -> Frames | None:
        withdraw(store, DISPATCH, [chunks[0].chunk_key])
        while True:
            progress(1, 10)

    editor = on_call(1, endless)
    assert drain(put_shard(store, chunks), editor) == 0
    assert status_of(store).done == tuple(chunk.chunk_key for chunk in chunks[1:])


def test_the_status_is_kept_fresh_during_an_edit(
    store: Store, chunks: list[ShardChunk], drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(gpu, "BEAT_SECONDS", 0.01)

    def until_seen(request: EditRequest, progress: Progress) -> Frames | None:
        progress(3, 10)
        while (status := status_of(store)).step != 3:
            pass
        assert (status.state, status.current, status.steps) == ("editing", chunks[0].chunk_key, 10)
        return None

    assert drain(put_shard(store, chunks[:1]), on_call(1, until_seen)) == 0


def test_a_damaged_marker_counts_as_none_and_is_replaced(store: Store, chunks: list[ShardChunk], drain: Drain) -> None:
    store.put_bytes(marker_path(chunks[0].chunk_key), b"{")
    assert drain(put_shard(store, chunks), ScriptedEditor()) == 0
    assert len(status_of(store).edited) == 3
    assert valid_marker(store, chunks[0].chunk_key) is not None


def test_a_group_of_several_chunks_is_refused(store: Store, chunks: list[ShardChunk], drain: Drain) -> None:
    shard = put_shard(store, chunks, groups=((chunks[0], chunks[1]), (chunks[2],)))
    assert drain(shard, ScriptedEditor()) == 64
    status = status_of(store)
    assert [failure.chunk_key for failure in status.failed] == [chunk.chunk_key for chunk in chunks[:2]]
    assert status.done == (chunks[2].chunk_key,)


def test_the_request_carries_what_the_shard_says(store: Store, chunks: list[ShardChunk], drain: Drain) -> None:
    seen: list[EditRequest] = []
    chunk = replace(chunks[0], seed=7, first_latent=16, instruction="warmer")
    drain(put_shard(store, [chunk]), on_call(1, lambda request, progress: seen.append(request)))
    assert (seen[0].seed, seen[0].first_latent, seen[0].instruction, seen[0].recipe) == (7, 16, "warmer", None)
    assert np.array_equal(seen[0].frames, noise(0))


def test_a_status_that_cannot_be_written_stops_nothing(
    store: Store, chunks: list[ShardChunk], drain: Drain, capsys: pytest.CaptureFixture[str]
) -> None:
    store.put_bytes(status_path(DISPATCH, 0, 0) + "/in the way", b"")
    assert drain(put_shard(store, chunks), ScriptedEditor()) == 0
    assert "status_not_written" in capsys.readouterr().out
    assert all(valid_marker(store, chunk.chunk_key) for chunk in chunks)


def test_a_failure_that_nobody_can_read_about_is_worth_another_try(
    store: Store, chunks: list[ShardChunk], drain: Drain
) -> None:
    store.put_bytes(status_path(DISPATCH, 0, 0) + "/in the way", b"")
    assert drain(put_shard(store, chunks), on_call(1, raising(ValueError("bad")))) == 75


# -- shots that are edited as one -------------------------------------------------------------------------------------


class ShotScriptedEditor(ScriptedEditor):
    """Inverts all windows of a shot at once, and keeps how far it is before the last step."""

    kept: bytes | None = None
    """What it found when it was called last."""

    def edit_together(
        self, requests: Sequence[EditRequest], progress: Progress, checkpoint: Checkpoint
    ) -> list[Frames]:
        self.kept = checkpoint.load()
        checkpoint.save(b"one step")
        progress(1, 2)
        return [self.edit(request, progress) for request in requests]


@pytest.fixture
def shot(chunks: list[ShardChunk]) -> tuple[ShardChunk, ...]:
    return tuple(replace(chunk, group="shot", windows=len(chunks)) for chunk in chunks)


def test_a_shot_is_edited_as_one_and_every_window_marked(store: Store, shot, drain: Drain, tmp_path: Path) -> None:
    editor = ShotScriptedEditor()
    assert drain(put_shard(store, shot, groups=(shot,)), editor) == 0
    for number, chunk in enumerate(shot):
        assert np.array_equal(edited(store, chunk, tmp_path), 255 - noise(number))
    assert editor.kept is None
    assert not [path for path in store.list("chunks") if path.endswith(".safetensors")]


def test_a_shot_goes_on_from_what_a_worker_before_it_kept(store: Store, shot, drain: Drain) -> None:
    def killed(request: EditRequest, progress: Progress) -> Frames | None:
        raise ConnectionError

    shard = put_shard(store, shot, groups=(shot,))
    assert drain(shard, ShotScriptedEditor(act=killed)) != 0
    assert not any(valid_marker(store, chunk.chunk_key) for chunk in shot)
    editor = ShotScriptedEditor()
    assert drain(shard, editor) == 0
    assert editor.kept == b"one step"


def test_a_shot_without_all_its_windows_is_not_edited(store: Store, shot, drain: Drain) -> None:
    assert drain(put_shard(store, shot[:2], groups=(shot[:2],)), ShotScriptedEditor()) == 64
    assert "a group of 2 chunks, not 3" in status_of(store).failed[0].message


def test_an_editor_that_edits_one_chunk_at_a_time_says_so(store: Store, shot, drain: Drain) -> None:
    assert drain(put_shard(store, shot, groups=(shot,)), ScriptedEditor()) == 64
    assert "edits one at a time" in status_of(store).failed[0].message
