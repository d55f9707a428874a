"""Making a deliverable again from its record, beside everything that is there, and saying what came out other.

All of it is made anew in a folder of its own: store, database, deliverable. Nothing recorded is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edits.catalogue import Catalogue
from edits.errors import PermanentError
from edits.lineage import Lineage
from edits.media.records import StreamDigest
from tasks.retry import row_of
from tasks.version import code_version, packages

COMPUTING = ("attention", "compile", "profile")
"""Settings of `[model]` that may decide last bits of an edit."""
SHOWN_PACKAGES = 8
"""Packages of another version that are named; the others are counted."""


@dataclass(frozen=True)
class Difference:
    """Something that was otherwise when the deliverable was made. Part of the `--json` output."""

    what: str
    recorded: str
    now: str


@dataclass(frozen=True)
class Reproduction:
    """What came of making a deliverable again. Part of the `--json` output: fields are added, never renamed."""

    identical: bool
    """Whether every stream has the recorded packets."""
    recorded: str
    """URI of the deliverable."""
    again: str
    """URI of the one that was made now."""
    streams: tuple[Difference, ...]
    """Streams with other packets."""
    chunks: tuple[str, ...]
    """Frames of the chunks that came out other, e.g. `64-144`."""
    differences: tuple[Difference, ...]
    """What is otherwise now than it was, whether or not it mattered."""


def row_again(lineage: Lineage, folder: Path, catalogue: Catalogue) -> dict[str, str]:
    """The manifest row that makes the deliverable again, in `folder`.

    Raises:
        PermanentError: its editor or its weights are not here.
    """
    job = lineage.job
    weights = catalogue[job.editor].weights if job.editor in catalogue else {}
    if job.weights not in weights:
        raise PermanentError(
            f"job {job.job_id} was made by editor '{job.editor}' with weights '{job.weights}', which are not here: "
            "install the version that has them, or register the weights"
        )
    return row_of(job) | {"output": str(folder / f"again{Path(job.output).suffix}")}


def compare(before: Lineage, after: Lineage, catalogue: Catalogue) -> Reproduction:
    """Hold what was made now against the record."""
    streams = tuple(_streams(before.streams, after.streams))
    files = {chunk.chunk_key: chunk.sha256 for chunk in after.chunks}
    other = [chunk for chunk in before.chunks if files.get(chunk.chunk_key) != chunk.sha256]
    return Reproduction(
        identical=not streams,
        recorded=before.uri,
        again=after.uri,
        streams=streams,
        chunks=tuple(f"{chunk.start}-{chunk.end - 1}" for chunk in other),
        differences=tuple(_differences(before, after, catalogue)),
    )


def _streams(before: tuple[StreamDigest, ...], after: tuple[StreamDigest, ...]) -> Iterator[Difference]:
    if len(before) != len(after):
        yield Difference("number of streams", str(len(before)), str(len(after)))
    for number, (then, now) in enumerate(zip(before, after, strict=False)):
        if then != now:
            yield Difference(f"stream {number} ({then.kind})", _stream(then), _stream(now))


def _stream(stream: StreamDigest) -> str:
    return f"{stream.codec}, {stream.packets} packets, sha256 {stream.sha256}"


def _differences(before: Lineage, after: Lineage, catalogue: Catalogue) -> Iterator[Difference]:
    card = catalogue[before.job.editor].weights[before.job.weights]
    pairs = {
        "source": (before.source.sha256, after.source.sha256),
        "editor version": (before.plan.editor_version if before.plan else "", card.editor_version),
        "weights": (before.job.weights_digest, card.digest),
        "numerics": (before.plan.numerics if before.plan else "", card.numerics),
        "code": (before.code_version, code_version()),
        "device": (_devices(before), _devices(after)),
        "encoder": (before.encoding, after.encoding),
        "image": (_image(before), _image(after)),
        "worker image": (", ".join(before.worker_images), ", ".join(after.worker_images)),
    }
    for what, (then, now) in pairs.items():
        if then != now:
            yield Difference(what, then, now)
    if before.origin is not None:
        if after.origin is not None:
            yield from _settings(before.origin.settings, after.origin.settings)
        yield from _packages(before.origin.packages, packages())


def _devices(lineage: Lineage) -> str:
    return ", ".join(sorted({chunk.device for chunk in lineage.chunks}))


def _image(lineage: Lineage) -> str:
    return lineage.origin.image_digest if lineage.origin is not None else ""


def _settings(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    """Ways of computing that are not taken over, since this machine may not have them."""
    for name in COMPUTING:
        if name in then and then[name] != now.get(name):
            yield Difference(f"setting model.{name}", str(then[name]), str(now.get(name)))


def _packages(then: Mapping[str, str], now: Mapping[str, str]) -> Iterator[Difference]:
    other = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    for name in other[:SHOWN_PACKAGES]:
        yield Difference(f"package {name}", then.get(name, "absent"), now.get(name, "absent"))
    if len(other) > SHOWN_PACKAGES:
        yield Difference("more packages", f"{len(other) - SHOWN_PACKAGES} of other versions", "see --json of lineage")
