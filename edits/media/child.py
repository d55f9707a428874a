"""Decoding in a process of its own: bare environment, limited memory, no child that outlives its parent.

`run` is the parent's side. `python -m edits.media.child` is the other: a call and a request as two lines of JSON on
standard input, which then stays open; on standard output a line for progress now and then, and one for the outcome.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, overload

import edits.errors
from edits import wire
from edits.errors import SamaflowError, SourceError, TransientError, WorkerError
from edits.job import STRICT, InputRecord
from edits.media.records import (
    FrameIndex,
    IndexRequest,
    Limits,
    Progress,
    ReviewRequest,
    SplitRequest,
    StitchRequest,
    StreamDigest,
    Verification,
)

_INTERVAL = 0.2
"""Seconds between two lines of progress."""
_TAIL = 2000
"""Characters of standard error that an error quotes."""
_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Of `mallopt`, from malloc.h."""


@dataclass(frozen=True)
class _Call:
    """First line of a call; the request is the second."""

    __pydantic_config__ = STRICT
    operation: str
    limits: Limits


@dataclass(frozen=True)
class _Inputs:
    """What `split` gives, as one record."""

    __pydantic_config__ = STRICT
    records: tuple[InputRecord, ...]


@dataclass(frozen=True)
class _Streams:
    """What `packets` gives, as one record."""

    __pydantic_config__ = STRICT
    streams: tuple[StreamDigest, ...]


@dataclass(frozen=True)
class _Nothing:
    """What an operation without a result gives."""

    __pydantic_config__ = STRICT


# -- the parent's side ------------------------------------------------------------------------------------------------


def _unheard(done: int, total: int) -> None:
    """Progress for callers that do not ask."""


@overload
def run(
    operation: Literal["index", "quick_index"],
    request: IndexRequest | Path,
    limits: Limits = ...,
    progress: Progress = ...,
) -> FrameIndex: ...
@overload
def run(operation: Literal["still", "lut"], request: Path, limits: Limits = ...) -> None: ...
@overload
def run(
    operation: Literal["packets"], request: IndexRequest | Path, limits: Limits = ..., progress: Progress = ...
) -> tuple[StreamDigest, ...]: ...
@overload
def run(
    operation: Literal["split"], request: SplitRequest, limits: Limits = ..., progress: Progress = ...
) -> tuple[InputRecord, ...]: ...
@overload
def run(
    operation: Literal["stitch"], request: StitchRequest, limits: Limits = ..., progress: Progress = ...
) -> None: ...
@overload
def run(
    operation: Literal["review"], request: ReviewRequest, limits: Limits = ..., progress: Progress = ...
) -> None: ...
@overload
def run(
    operation: Literal["verify"], request: StitchRequest, limits: Limits = ..., progress: Progress = ...
) -> Verification: ...


def run(operation: str, request: Any, limits: Limits = Limits(), progress: Progress = _unheard) -> Any:  # noqa: B008
    """Run one operation of the media engine in a child process and wait for it.

    Paths in the request are absolute. The child ends with this process, and when `progress` raises.

    Raises:
        SamaflowError: whatever the operation raises, with its own class and message.
        SourceError: the child crashed or reached a limit while it read the file.
        WorkerError: the child was killed from outside.
    """
    if isinstance(request, Path):
        request = IndexRequest(str(request.absolute()))
    with tempfile.TemporaryFile() as log, _started(log) as process:
        _send(process, _Call(operation, limits), request)
        outcome = _outcome(process, progress)
        code = process.wait()
        if outcome is None:
            raise _death(operation, request, limits, code, log)
        if "error" in outcome:
            raise _error(outcome["error"], outcome["message"])
        return _unpacked(operation, outcome["result"])


@contextlib.contextmanager
def _started(log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    command = [sys.executable, "-I", "-m", "edits.media.child"]
    # A session of its own keeps the terminal's Ctrl-C from it: this process decides what that means.
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=log, env=environment, cwd="/", start_new_session=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for end in (process.stdin, process.stdout):
            assert end is not None
            with contextlib.suppress(BrokenPipeError):
                end.close()


def _send(process: subprocess.Popen[bytes], call: _Call, request: object) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # A child that is gone already is reported by its exit status.
        process.stdin.write(wire.dump(call) + b"\n" + wire.dump(request) + b"\n")
        process.stdin.flush()


def _outcome(process: subprocess.Popen[bytes], progress: Progress) -> dict[str, Any] | None:
    """Follow the child's lines to the last; None if it ends without an outcome."""
    assert process.stdout is not None
    for line in process.stdout:
        if not line.endswith(b"\n"):
            return None
        message: dict[str, Any] = json.loads(line)
        if "done" not in message:
            return message
        progress(message["done"], message["total"])
    return None


def _error(name: str, message: str) -> SamaflowError:
    kind = getattr(edits.errors, name, WorkerError)
    error: SamaflowError = kind(message)
    return error


def _unpacked(operation: str, result: dict[str, Any]) -> Any:
    record: Any = wire.load(_results()[operation], json.dumps(result).encode(), f"the result of {operation}")
    if isinstance(record, _Inputs):
        return record.records
    if isinstance(record, _Streams):
        return record.streams
    return None if isinstance(record, _Nothing) else record


def _results() -> dict[str, type[Any]]:
    return {
        "index": FrameIndex,
        "quick_index": FrameIndex,
        "still": _Nothing,
        "lut": _Nothing,
        "packets": _Streams,
        "split": _Inputs,
        "stitch": _Nothing,
        "review": _Nothing,
        "verify": Verification,
    }


def _death(operation: str, request: Any, limits: Limits, code: int, log: IO[bytes]) -> SamaflowError:
    """What a child that ended without a word died of."""
    name = getattr(request, "path", None) or request.source
    log.seek(0)
    said = log.read().decode(errors="replace").strip()[-_TAIL:]
    quoted = f" It said: {said}" if said else ""
    if code >= 0:
        return WorkerError(f"{name}: the media process for '{operation}' ended with exit code {code}.{quoted}")
    number = signal.Signals(-code).name
    if number == "SIGXCPU":
        return SourceError(f"{name}: '{operation}' used more processor time than is allowed ({number}).{quoted}")
    if number in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL"):
        return SourceError(
            f"{name}: the decoder crashed on this file during '{operation}' ({number}): it is damaged, means to, or "
            f"needs more than {_memory(limits)}. Rewrap or transcode it elsewhere first.{quoted}"
        )
    return TransientError(
        f"{name}: the media process for '{operation}' was killed ({number}); if nobody did it, the machine may be out "
        f"of memory. Try again with fewer jobs at once.{quoted}"
    )


# -- the child's side -------------------------------------------------------------------------------------------------


def main() -> None:
    """Serve one call from standard input."""
    out = _private_stdout()
    _end_with_parent()
    _keep_freed_memory()
    call = wire.load(_Call, sys.stdin.buffer.readline(), "the call")
    data = sys.stdin.buffer.readline()
    threading.Thread(target=_end_with_pipe, daemon=True).start()
    operations = _operations()
    _collect_often()
    _limit(call.limits)
    try:
        result = operations[call.operation](data, call.limits, _Reporter(out))
        message = b'{"result":' + wire.dump(result) + b"}"
    except SamaflowError as error:
        message = _message(type(error).__name__, str(error))
    except MemoryError:
        message = _message("SourceError", f"{call.operation} takes more than {_memory(call.limits)}")
    out.write(message + b"\n")
    out.flush()


def _private_stdout() -> IO[bytes]:
    """Standard output for us alone; what libraries print goes to standard error."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def _end_with_parent() -> None:
    """Ask Linux for SIGKILL when the parent dies; elsewhere the pipe does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_with_pipe() -> None:
    """Standard input closes when the parent is gone, however it went."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _keep_freed_memory() -> None:
    """Frames are megabytes, made and freed all the time: glibc is told to keep their pages (a tenth of the time)."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        libc.mallopt(_M_TRIM_THRESHOLD, 64 << 20)
        libc.mallopt(_M_ARENA_MAX, 4)


def _collect_often() -> None:
    """PyAV's objects refer to one another. Left to Python's own pace, the decoders of dozens of chunks lie about,
    megabytes each: nearly half of a stitch's memory, and more of it the longer the video. Modules are left out."""
    gc.freeze()
    gc.collect()
    gc.set_threshold(50, 1, 1)


def _limit(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 5))


class _Reporter:
    """Progress as lines, not more often than people can read."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._next = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next or done == total:
            self._next = now + _INTERVAL
            self._out.write(json.dumps({"done": done, "total": total}).encode() + b"\n")
            self._out.flush()


def _operations() -> dict[str, Callable[[bytes, Limits, Progress], object]]:
    """Imports happen here, so that the parent's side loads no decoder, and before the limits: this code is ours."""
    import cv2

    from edits.media import givenmask, index, lut, packets, review, verify
    from edits.media.split import split
    from edits.stitch import stitch

    # Frames are worked on side by side already; threads within one would only wait for each other.
    cv2.setNumThreads(1)

    def indexed(data: bytes, limits: Limits, progress: Progress) -> FrameIndex:
        request = wire.load(IndexRequest, data, "index")
        return index.index_source(Path(request.path), progress, limits, request.rate)

    def quickly(data: bytes, limits: Limits, progress: Progress) -> FrameIndex:
        request = wire.load(IndexRequest, data, "quick_index")
        return index.quick_index(Path(request.path), limits, request.rate)

    def seen(data: bytes, limits: Limits, progress: Progress) -> _Nothing:
        givenmask.require_still(Path(wire.load(IndexRequest, data, "still").path), limits)
        return _Nothing()

    def undone(data: bytes, limits: Limits, progress: Progress) -> _Nothing:
        lut.require_lut(Path(wire.load(IndexRequest, data, "lut").path))
        return _Nothing()

    def summed(data: bytes, limits: Limits, progress: Progress) -> _Streams:
        return _Streams(packets.stream_digests(Path(wire.load(IndexRequest, data, "packets").path), limits))

    def cut(data: bytes, limits: Limits, progress: Progress) -> _Inputs:
        return _Inputs(split(wire.load(SplitRequest, data, "split"), progress))

    def stitched(data: bytes, limits: Limits, progress: Progress) -> _Nothing:
        stitch(wire.load(StitchRequest, data, "stitch"), progress)
        return _Nothing()

    def verified(data: bytes, limits: Limits, progress: Progress) -> Verification:
        return verify.verify(wire.load(StitchRequest, data, "verify"), progress)

    def reviewed(data: bytes, limits: Limits, progress: Progress) -> _Nothing:
        review.write_review(wire.load(ReviewRequest, data, "review"), progress)
        return _Nothing()

    return {
        "index": indexed,
        "quick_index": quickly,
        "still": seen,
        "lut": undone,
        "packets": summed,
        "split": cut,
        "stitch": stitched,
        "verify": verified,
        "review": reviewed,
    }


def _message(error: str, text: str) -> bytes:
    return json.dumps({"error": error, "message": text}).encode()


def _memory(limits: Limits) -> str:
    gib = limits.memory_bytes / (1 << 30)
    return f"the {gib:.3g} GiB of memory that a media process may have (limits.memory_gib)"


if __name__ == "__main__":
    main()
