"""What is to be done with each file of a library under one style, and why. Pure decisions over records.

A file is judged by size and time first; where these contradict each other its digest decides, asked for only then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from edits.job import JobState
from edits.library import LibraryFile, Order


class Verdict(StrEnum):
    """What a run does with a file; `TO_DO` names those that it works on."""

    NEW = "new"
    CHANGED = "changed"
    """Its bytes are others than when it was done."""
    LEFT = "left before"
    """A former run began it, or put it off, and did not finish."""
    AGAIN = "tried again"
    """It failed for a reason that may have passed, or failures are to be tried again."""
    DONE = "done"
    SAME = "done, same bytes"
    """Its time is another and its digest is not."""
    ELSEWHERE = "in work by another run"
    REVIEW = "awaiting review"
    FAILED = "failed before"
    """For good: the same file with the same style fails again."""
    CANCELLED = "cancelled"
    """By a person, or rejected in a review."""
    LATER = "put off"
    """Its turn did not come within this run's limits."""


TO_DO = frozenset({Verdict.NEW, Verdict.CHANGED, Verdict.LEFT, Verdict.AGAIN})


@dataclass(frozen=True)
class Known:
    """What is recorded of a file under this style."""

    size: int
    mark: str
    sha256: str
    """Of the bytes that its job was made from; empty when it never became a job."""
    job_id: str
    state: JobState | None
    """Of its job."""
    message: str
    """Why it failed, or empty."""
    transient: bool
    """The failure may pass."""
    held: bool
    """Another live run works on it."""


@dataclass(frozen=True)
class Judged:
    """A file with its verdict."""

    file: LibraryFile
    verdict: Verdict
    why: str = ""
    """More than the verdict says, for people."""


_IN_ORDER: dict[Order, Callable[[LibraryFile], tuple[object, str]]] = {
    Order.NEWEST: lambda file: (-file.changed, file.uri),
    Order.OLDEST: lambda file: (file.changed, file.uri),
    Order.NAME: lambda file: ("", file.uri),
    Order.SMALLEST: lambda file: (file.size, file.uri),
    Order.LARGEST: lambda file: (-file.size, file.uri),
}


def survey(
    files: Iterable[LibraryFile],
    known: Mapping[str, Known],
    order: Order,
    limit: int,
    digest: Callable[[LibraryFile], str],
    *,
    retry_failed: bool = False,
) -> Iterator[Judged]:
    """Every file with its verdict, in `order`; of those to do, the ones after the first `limit` are put off.

    `digest` is asked for the sha256 of files whose time changed and whose size did not, and never beyond the limit.
    """
    room = limit
    for file in sorted(files, key=_IN_ORDER[order]):
        judged = _judge(file, known.get(file.uri), digest if room else None, retry_failed)
        if judged.verdict in TO_DO:
            if room == 0:
                yield Judged(file, Verdict.LATER, judged.verdict)
                continue
            room -= 1
        yield judged


def _judge(
    file: LibraryFile, known: Known | None, digest: Callable[[LibraryFile], str] | None, retry_failed: bool
) -> Judged:
    if known is None:
        return Judged(file, Verdict.NEW)
    if known.held:
        return Judged(file, Verdict.ELSEWHERE)
    if known.size != file.size:
        return Judged(file, Verdict.CHANGED, f"{known.size} bytes became {file.size}")
    if known.mark != file.mark and known.sha256:
        if digest is None:
            return Judged(file, Verdict.LATER, "its time changed")
        if digest(file) != known.sha256:
            return Judged(file, Verdict.CHANGED, "the same size, other bytes")
        if known.state is JobState.DELIVERED:
            return Judged(file, Verdict.SAME)
    elif known.mark != file.mark:
        return Judged(file, Verdict.CHANGED, "its time changed")
    return _by_state(file, known, retry_failed)


def _by_state(file: LibraryFile, known: Known, retry_failed: bool) -> Judged:
    """The file is as it was: what became of it decides."""
    if known.state is JobState.DELIVERED:
        return Judged(file, Verdict.DONE)
    if known.state is JobState.AWAITING_REVIEW:
        return Judged(file, Verdict.REVIEW, f"samaflow approve {known.job_id}")
    if known.state is JobState.CANCELLED and not retry_failed:
        return Judged(file, Verdict.CANCELLED, known.message)
    if known.state in (JobState.FAILED, JobState.FAILED_QC, JobState.CANCELLED) or known.message:
        again = known.transient or retry_failed
        return Judged(file, Verdict.AGAIN if again else Verdict.FAILED, known.message)
    return Judged(file, Verdict.LEFT)
