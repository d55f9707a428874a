"""The worker: drains one shard with its editor loaded once. This is what runs in a GPU pod, and on one machine.

Stateless: it needs the store and the weights alone, and knows neither Prefect, a database nor Kubernetes. What the
model raises is translated here, once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from edits import wire
from edits.errors import DeviceError, PermanentError, RecordError, SamaflowError, TransientError
from edits.job import ChunkFailure, Marker, Shard, ShardChunk
from edits.keys import sha256_of
from edits.settings import load_settings
from edits.storage import Store, marker_path, output_path, valid_marker, withdrawn
from sama_model.config import Options, Recipe
from sama_model.editors.base import Editor, EditRequest, Frames, PromptEditor, ShotEditor
from tasks.board import Board, peak_memory, versions
from tasks.checkpoints import ShotCheckpoint
from tasks.chunk_files import get_input, write_output
from tasks.exits import Exit, exit_code, translated
from tasks.shard import load_editor, load_shard, model_options, shard_address
from tasks.stopping import Stopping

LOOK_SECONDS = 5.0
"""How often the worker looks for chunks that were withdrawn while it edits."""
BEAT_SECONDS = 30.0
"""How often it rewrites its status when nothing happens."""
PUT_PAUSES = (0.5, 2.0, 5.0, 15.0, 30.0, 60.0)
"""More patience than for anything else: an edited chunk may have cost an hour of GPU."""


class _WithdrawnError(Exception):
    """Nobody wants the chunk any more."""


@dataclass(frozen=True)
class _Put:
    """An edited chunk in the store, not yet marked."""

    sha256: str
    size: int
    seconds: dict[str, float]


class Worker:
    """Drains one shard: a bad chunk is written down and the next one begun."""

    def __init__(self, store: Store, shard: Shard, board: Board, scratch: Path, options: Options) -> None:
        self._options = options
        self._store = store
        self._patient = store.with_pauses(PUT_PAUSES)
        self._shard = shard
        self._board = board
        self._scratch = scratch
        self._editor: Editor | None = None
        self._withdrawn: frozenset[str] = frozenset()
        self._over = False
        """Whether no chunk can be edited in this process any more."""

    def run(self) -> Exit:
        """Edit every chunk that has no marker, and say how it went."""
        ended = threading.Event()
        threading.Thread(target=self._beat, args=(ended,), daemon=True).start()
        try:
            self._drain()
        finally:
            ended.set()
        return self._finish()

    def _drain(self) -> None:
        missing = [group for group in self._shard.groups if self._is_missing(group)]
        self._board.event("shard_loaded", chunks=len(self._shard.chunks), groups_missing=len(missing))
        for position, group in enumerate(missing):
            self._guarded(group, missing[position + 1 :])
            if self._over:
                break

    def _guarded(self, group: Sequence[ShardChunk], later: Sequence[Sequence[ShardChunk]]) -> None:
        """Edit one group; what it raises is its failure, and that of the later ones if this process is done for."""
        try:
            self._edit(group)
        except _WithdrawnError:
            self._board.event("chunks_withdrawn", chunks=[chunk.chunk_key for chunk in group])
        except Exception as error:  # noqa: BLE001 - a bad chunk never stops the shard, whatever is wrong with it
            problem = translated(error)
            if type(problem) is PermanentError:
                traceback.print_exception(error)  # most likely a mistake in the code: for people, in the log
            self._over = self._over or type(problem) is DeviceError
            self._fail(problem, [group, *later] if self._over else [group])
        _release_device_memory()  # here, where the exception no longer holds on to the tensors of its frames
        self._board.note(current="", step=0, steps=0)
        for left in self._scratch.iterdir():
            left.unlink()

    def _edit(self, group: Sequence[ShardChunk]) -> None:
        self._withdrawn = withdrawn(self._store, self._shard.dispatch_id)
        if self._withdrawn.issuperset(chunk.chunk_key for chunk in group):
            raise _WithdrawnError
        if self._is_marked(group):
            return
        if any(chunk.windows != len(group) for chunk in group):
            raise RecordError(f"a group of {len(group)} chunks, not {group[0].windows}: run the manifest again")
        if len(group) == 1:
            self._edit_chunk(group[0], self._loaded())
        else:
            self._edit_shot(group, self._loaded())

    def _edit_chunk(self, chunk: ShardChunk, editor: Editor) -> None:
        """Input, edit, local file, store, marker: in this order, so that a marker never names half a file."""
        self._board.note(state="editing", current=chunk.chunk_key)
        self._board.event("chunk_started", chunk=chunk.chunk_key)
        seconds: dict[str, float] = {}
        with _lap(seconds, "get"):
            request = self._request(chunk)
        with _lap(seconds, "edit"):
            edited = editor.edit(request, self._progress([chunk]))
        self._finish_chunk(chunk, editor, self._put(chunk, edited, seconds))

    def _edit_shot(self, group: Sequence[ShardChunk], editor: Editor) -> None:
        """All windows of a shot as one: their outputs first, then their markers."""
        if not isinstance(editor, ShotEditor):
            raise RecordError(f"a group of {len(group)} chunks: editor '{self._shard.editor}' edits one at a time")
        self._board.note(state="editing", current=group[0].chunk_key)
        self._board.event("shot_started", chunks=[chunk.chunk_key for chunk in group])
        seconds: dict[str, float] = {}
        with _lap(seconds, "get"):
            requests = [self._request(chunk) for chunk in group]
        kept = ShotCheckpoint(self._patient, group)
        with _lap(seconds, "edit"):
            edited = editor.edit_together(requests, self._progress(group), kept)
        shares = {part: spent / len(group) for part, spent in seconds.items()}
        puts = [self._put(chunk, frames, dict(shares)) for chunk, frames in zip(group, edited, strict=True)]
        for chunk, put in zip(group, puts, strict=True):
            self._finish_chunk(chunk, editor, put)
        kept.forget()

    def _put(self, chunk: ShardChunk, edited: Frames, seconds: dict[str, float]) -> _Put:
        with _lap(seconds, "write"):
            local = write_output(chunk, edited, self._scratch)
        with _lap(seconds, "put"):
            sha256 = sha256_of(local)
            self._patient.put_file(output_path(chunk.chunk_key, sha256), local)
        return _Put(sha256, local.stat().st_size, seconds)

    def _finish_chunk(self, chunk: ShardChunk, editor: Editor, put: _Put) -> None:
        self._mark(chunk, editor, put)
        self._done(chunk, edited=True)
        self._board.event("chunk_done", chunk=chunk.chunk_key, seconds=put.seconds)

    def _request(self, chunk: ShardChunk) -> EditRequest:
        sampling = chunk.sampling
        return EditRequest(
            frames=get_input(self._store, chunk, self._scratch),
            instruction=chunk.instruction,
            seed=chunk.seed,
            recipe=None if sampling is None else Recipe(**asdict(sampling)),
            first_latent=chunk.first_latent,
            deep=chunk.deep,
        )

    def _mark(self, chunk: ShardChunk, editor: Editor, put: _Put) -> None:
        shard = self._shard
        marker = Marker(
            chunk_key=chunk.chunk_key, output=output_path(chunk.chunk_key, put.sha256).rpartition("/")[2],
            sha256=put.sha256, size=put.size, frames=chunk.frames, width=chunk.width, height=chunk.height,
            editor=shard.editor, editor_version=shard.editor_version, weights_digest=shard.weights_digest,
            seed=chunk.seed, dispatch_id=shard.dispatch_id, seconds=put.seconds, peak_memory_bytes=peak_memory(),
            device=editor.device, versions=versions(),
            cut_tokens=editor.cut_tokens(chunk.instruction) if isinstance(editor, PromptEditor) else 0,
        )  # fmt: skip
        self._patient.put_bytes(marker_path(chunk.chunk_key), wire.dump(marker))

    def _progress(self, group: Sequence[ShardChunk]) -> Callable[[int, int], None]:
        keys = frozenset(chunk.chunk_key for chunk in group)

        def progress(done: int, total: int) -> None:
            self._board.note(step=done, steps=total)
            if keys <= self._withdrawn:
                raise _WithdrawnError

        return progress

    def _loaded(self) -> Editor:
        """The editor; without one no chunk can be edited, so that a failure to load it is the failure of all."""
        if self._editor is None:
            self._board.event("loading", editor=self._shard.editor, weights=self._shard.weights)
            self._board.device_taken()
            try:
                self._editor = load_editor(self._shard, self._options)
            except Exception:
                self._over = True
                raise
            self._board.note(device=self._editor.device)
        return self._editor

    def _is_missing(self, group: Sequence[ShardChunk]) -> bool:
        try:
            return not self._is_marked(group)
        except PermanentError:  # a damaged marker: raised again, and written down, when it is the group's turn
            return True

    def _is_marked(self, group: Sequence[ShardChunk]) -> bool:
        marked = [chunk for chunk in group if valid_marker(self._store, chunk.chunk_key) is not None]
        for chunk in marked:
            self._done(chunk, edited=False)
        return len(marked) == len(group)

    def _done(self, chunk: ShardChunk, edited: bool) -> None:
        status = self._board.status
        if chunk.chunk_key not in status.done:
            self._board.note(done=(*status.done, chunk.chunk_key))
        if edited:
            self._board.note(edited=(*status.edited, chunk.chunk_key))

    def _fail(self, problem: SamaflowError, groups: Sequence[Sequence[ShardChunk]]) -> None:
        keys = [chunk.chunk_key for group in groups for chunk in group]
        transient = isinstance(problem, TransientError)
        failures = [ChunkFailure(key, problem.category, str(problem), transient) for key in keys]
        self._board.note(failed=(*self._board.status.failed, *failures))
        self._board.event("chunks_failed", chunks=keys, category=problem.category, message=str(problem))

    def _beat(self, ended: threading.Event) -> None:
        """From a thread, because a step can hold the main one: look for withdrawn chunks, keep the status fresh."""
        quick = self._store.with_pauses(())
        written = time.monotonic()
        while not ended.wait(LOOK_SECONDS):
            try:
                self._withdrawn = withdrawn(quick, self._shard.dispatch_id)
            except SamaflowError as error:
                self._board.say("store_in_trouble", message=str(error))
            if time.monotonic() - written >= BEAT_SECONDS:
                self._board.write(quick)
                written = time.monotonic()

    def _finish(self) -> Exit:
        code = exit_code(self._board.status.failed)
        self._board.note(state="failed" if code else "done", exit_code=int(code))
        self._board.say("finished", exit_code=int(code))
        # A permanent failure that nobody can read about is worth another worker.
        return code if self._board.write() or code != Exit.FAILED else Exit.TRANSIENT


def _release_device_memory() -> None:
    """Give back what an edit has left, so that the next one does not fail for it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def _lap(seconds: dict[str, float], part: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds[part] = round(time.monotonic() - began, 3)


# -- the process ------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Drain the shard that the command line names; the exit code is one of `Exit`."""
    arguments = _arguments(argv)
    stopping = Stopping(Exit.STOPPED, arguments.parent_pipe)
    try:
        address = shard_address(arguments.shard, os.environ, arguments.indexes)
        store = Store(address.store)
        options = model_options(load_settings(Path.cwd(), os.environ, {}))
    except SamaflowError as error:
        sys.stderr.write(f"samaflow-worker: {error}\n")
        return Exit.FAILED
    board = Board(store, address.dispatch_id, address.index, arguments.attempt, arguments.name)
    with tempfile.TemporaryDirectory(prefix="samaflow-worker-") as scratch:
        stopping.say_first(lambda reason: _say_farewell(board, Path(scratch), reason))
        try:
            return Worker(store, load_shard(store, address), board, Path(scratch), options).run()
        except SamaflowError as error:
            return _give_up(board, error)


def _give_up(board: Board, error: SamaflowError) -> Exit:
    """The shard as a whole cannot be worked on."""
    code = Exit.TRANSIENT if isinstance(error, TransientError) else Exit.FAILED
    board.note(state="failed", problem=str(error), exit_code=int(code))
    board.event("failed", category=error.category, message=str(error), exit_code=int(code))
    return code


def _say_farewell(board: Board, scratch: Path, reason: str) -> None:
    board.note(state="stopped", exit_code=int(Exit.STOPPED))
    board.event("stopped", reason=reason)
    shutil.rmtree(scratch, ignore_errors=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="samaflow-worker", description="Edit the chunks of one shard.")
    parser.add_argument(
        "shard", metavar="SHARD_URI", help="{store}/dispatches/<id>/<index>.json, or its folder and '/'"
    )
    parser.add_argument("--attempt", type=int, default=0, help="number of the round; names the status object")
    parser.add_argument(
        "--name", default="", help="this worker's own, where a shard may have several; names the status"
    )
    parser.add_argument("--indexes", default="", help="after a '/': which shard is meant by each JOB_COMPLETION_INDEX")
    parser.add_argument("--parent-pipe", action="store_true", help="end when standard input closes")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
