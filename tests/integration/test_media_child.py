"""The child process: same results, a bare environment, limits that hold, and an end with its parent."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import psutil
import pytest

from edits.errors import SourceError, StoreError, TransientError, VerificationError
from edits.media import child
from edits.media.index import index_source, quick_index
from edits.media.records import Limits, StitchRequest
from tests.fakes.footage import constant, requests, same_frames, write_footage

MKV = Fraction(1, 1000)


def unheard(done: int, total: int) -> None:
    """Progress that nobody listens to."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_footage(tmp_path / "source.mkv", constant(30, 40), MKV, audio="aac")


def test_the_whole_chain_gives_what_it_gives_in_this_process(source: Path, tmp_path: Path) -> None:
    index = child.run("index", source)
    assert index == index_source(source, unheard)
    assert child.run("quick_index", source) == quick_index(source)
    split, stitch = requests(source, index, tmp_path, "out.mkv")
    records = child.run("split", split)
    assert [record.frames for record in records] == [17, 17, 9]
    for chunk in stitch.chunks:
        Path(chunk.output).write_bytes(Path(chunk.input).read_bytes())
    assert child.run("stitch", stitch) is None
    assert same_frames(source, stitch.output)
    assert child.run("verify", stitch).passed


def test_progress_ends_with_the_whole(source: Path) -> None:
    seen: list[tuple[int, int]] = []
    child.run("index", source, Limits(), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (30, 30)


def test_errors_keep_their_class_and_message(source: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(SourceError, match=r"text\.mp4: not a video file"):
        child.run("index", tmp_path / "text.mp4")
    request = requests(source, index_source(source, unheard), tmp_path, "out.mkv")[1]
    with pytest.raises(VerificationError, match="not there"):
        child.run("stitch", request)


# -- limits -----------------------------------------------------------------------------------------------------------


def test_too_little_memory_is_said_to_be_that(source: Path) -> None:
    with pytest.raises(SourceError, match="GiB of memory that a media process may have"):
        child.run("index", source, Limits(memory_bytes=200 << 20))


def test_pixels_are_limited(source: Path) -> None:
    with pytest.raises(SourceError, match="160 x 96 pixels are more than the 1,000"):
        child.run("index", source, Limits(max_pixels=1000))


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A disk with `size` bytes left, as far as one file can tell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def prepared(source: Path, folder: Path) -> StitchRequest:
    split, stitch = requests(source, index_source(source, unheard), folder, "out.mkv")
    child.run("split", split)
    for chunk in stitch.chunks:
        Path(chunk.output).write_bytes(Path(chunk.input).read_bytes())
    return stitch


def test_a_full_disk_leaves_nothing_half_written(source: Path, tmp_path: Path) -> None:
    request = prepared(source, tmp_path)
    before = sorted(tmp_path.iterdir())
    with largest_file(40_000), pytest.raises(StoreError, match="no room to write it"):
        child.run("stitch", request)
    assert sorted(tmp_path.iterdir()) == before


def test_a_full_disk_while_splitting_leaves_nothing_half_written(source: Path, tmp_path: Path) -> None:
    split = requests(source, index_source(source, unheard), tmp_path, "out.mkv")[0]
    with largest_file(4_000), pytest.raises(StoreError, match="no room to write it"):
        child.run("split", split)
    assert list(tmp_path.iterdir()) == [source]


# -- life and death ---------------------------------------------------------------------------------------------------


def children() -> list[psutil.Process]:
    return [process for process in psutil.Process().children() if "edits.media.child" in process.cmdline()]


def environment_of(process: psutil.Process) -> set[str]:
    return set(process.environ())


def test_the_child_sees_neither_secrets_nor_the_working_folder(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    seen: list[tuple[set[str], str]] = []

    def look(done: int, total: int) -> None:
        seen.extend((environment_of(process), process.cwd()) for process in children())

    child.run("index", source, Limits(), look)
    assert seen
    assert all(names <= {"PATH", "LANG", "LC_CTYPE"} and folder == "/" for names, folder in seen)


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [(signal.SIGKILL, TransientError, "SIGKILL"), (signal.SIGSEGV, SourceError, "crashed on this file.*SIGSEGV")],
)
def test_a_child_that_dies_is_an_error_with_its_signal(
    tmp_path: Path, number: signal.Signals, kind: type[Exception], message: str
) -> None:
    path = write_footage(tmp_path / "long.mkv", constant(600, 40), MKV, size=(320, 180))

    def kill(done: int, total: int) -> None:
        for process in children():
            process.send_signal(number)

    with pytest.raises(kind, match=message):
        child.run("index", path, Limits(), kill)


def test_an_error_of_the_callers_progress_ends_the_child(tmp_path: Path) -> None:
    path = write_footage(tmp_path / "long.mkv", constant(600, 40), MKV, size=(320, 180))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        child.run("index", path, Limits(), stop)
    assert children() == []


PARENT = """
import sys
import time
from pathlib import Path
from edits.media import child
from edits.media.records import Limits
import psutil

def tell(done, total):
    print(psutil.Process().children()[0].pid, flush=True)
    time.sleep(60)

child.run("index", Path(sys.argv[1]), Limits(), tell)
"""


def test_killing_the_parent_ends_the_child(tmp_path: Path) -> None:
    path = write_footage(tmp_path / "long.mkv", constant(900, 40), MKV, size=(320, 180))
    with subprocess.Popen([sys.executable, "-c", PARENT, str(path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} outlives its parent")
