"""Which frames are edited together: shots, chunks, padding, keys, and what all of it will cost. Pure arithmetic.

Knows cards and frame indexes, opens nothing. Times are frame numbers of the source, ranges half-open.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from edits.catalogue import Card, Geometry, Recipe
from edits.errors import PermanentError
from edits.job import Chunk, EditJob, VideoPlan
from edits.keys import ChunkFields, InputFields, chunk_key, input_key
from edits.media.asked import DEINTERLACER, as_asked
from edits.media.deliverables import deliverable_for
from edits.media.records import FrameIndex, LutFile
from edits.shots import asked_of

JOINT_FRAMES = 1041
"""The longest shot that is edited as one: its decoded frames and their source are held at once, 5 GB at 832 x 480."""

RESAMPLER = "area/1"
"""Name and version of the resampler that makes chunk inputs."""

CHUNK_BYTES_PER_PIXEL = 0.3
"""A chunk file's bytes for one pixel of one frame: FFV1 in gbrp, measured 9.8 MB for 81 frames of 832x480."""

DELIVERABLE_BYTES_PER_PIXEL = 1.0
"""At most, for one pixel of one frame at source size: lossless 8-bit 4:2:0; H.264 needs a tenth of it."""


# -- chunks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ChunkRange:
    """`[start, end)` of the source, then `padding` repeats of the last frame; the first `lead` frames get no weight."""

    start: int
    end: int
    padding: int
    lead: int


def chunk_ranges(start: int, end: int, geometry: Geometry) -> tuple[ChunkRange, ...]:
    """Cut the shot `[start, end)` into chunks, by the rules of the weights.

    Starts are multiples of the stride from the shot's start. The last one is `f * ceil((n - c) / f)` for n frames,
    chunks of c and a temporal factor of f: that chunk is full but for at most f-1 frames, which padding repeats, and
    overlaps its predecessor at least as much as the others do. Where it starts within the overlap before it, three
    chunks cover some frames: a blend takes them in order of start.
    A shot shorter than a chunk is one chunk of f*k+1 frames.

    Raises:
        PermanentError: an empty shot, or a geometry whose neighbours do not overlap by more than the lead.
    """
    _check(start, end, geometry)
    length, factor = end - start, geometry.temporal_factor
    if length <= geometry.chunk_frames:
        return (ChunkRange(start, end, -(length - 1) % factor, 0),)
    last = factor * math.ceil((length - geometry.chunk_frames) / factor)
    offsets = [*range(0, last, geometry.stride), last]
    return tuple(_chunk(start + offset, start, end, geometry) for offset in offsets)


def _chunk(first: int, shot_start: int, shot_end: int, geometry: Geometry) -> ChunkRange:
    full = first + geometry.chunk_frames
    return ChunkRange(
        start=first,
        end=min(full, shot_end),
        padding=max(0, full - shot_end),
        lead=geometry.lead if first > shot_start else 0,
    )


def _check(start: int, end: int, geometry: Geometry) -> None:
    if end <= start:
        raise PermanentError(f"a shot from frame {start} to {end} has no frames")
    factor = geometry.temporal_factor
    overlap = geometry.chunk_frames - geometry.stride
    whole = geometry.chunk_frames % factor == 1 % factor and geometry.stride % factor == 0 and geometry.stride > 0
    if not whole or overlap <= geometry.lead:
        raise PermanentError(
            f"the weights' card asks for chunks of {geometry.chunk_frames} frames, a stride of {geometry.stride} and a "
            f"lead of {geometry.lead}; needed are {factor}k+1, a multiple of {factor}, and an overlap above the lead"
        )


def shots_of(index: FrameIndex, start: int, end: int) -> tuple[tuple[int, int], ...]:
    """Half-open ranges between the cuts inside `[start, end)`; they tile it. A cut at either border makes none."""
    borders = [start, *(cut for cut in index.cuts if start < cut < end), end]
    return tuple(pairwise(borders))


def working_size(index: FrameIndex, card: Card) -> tuple[int, int]:
    """(width, height) at which the source is edited, chosen by the shape that its picture is shown in."""
    return card.working_size(max(1, round(index.width * index.sample_aspect_ratio)), index.height)


# -- plan -------------------------------------------------------------------------------------------------------------


def plan_video(job: EditJob, index: FrameIndex, card: Card) -> VideoPlan:
    """Everything that is to be done for `job`: its shots, its chunks and their keys.

    Raises:
        PermanentError: the job was made from another index or card, or the card's geometry is unusable.
    """
    if index.sha256 != job.source_sha256 or card.digest != job.weights_digest or card.editor != job.editor:
        raise PermanentError(
            f"job {job.job_id}: its source or its weights are not those that it was made from; run it again"
        )
    index = as_asked(index, job, job.cuts, LutFile(job.lut_sha256) if job.lut else None)
    width, height = working_size(index, card)
    shots = shots_of(index, job.start, job.end)
    return VideoPlan(
        job=job,
        width=width,
        height=height,
        fit=job.fit,
        shots=shots,
        chunks=tuple(_chunks(job, index, card, shots, (width, height))),
        editor_version=card.editor_version,
        numerics=card.numerics,
        deep=_deep(job, index, card),
    )


def _deep(job: EditJob, index: FrameIndex, card: Card) -> bool:
    """Whether more than 8 bits are worth having: a model's floats, and somewhere to put them."""
    delivered = deliverable_for(job.deliverable, index).depth(index)
    return bool(card.recipes) and max(index.bit_depth, delivered) > 8


def _chunks(
    job: EditJob, index: FrameIndex, card: Card, shots: tuple[tuple[int, int], ...], size: tuple[int, int]
) -> Iterator[Chunk]:
    number, deep = 0, _deep(job, index, card)
    for shot, (start, end) in enumerate(shots):
        parts = chunk_ranges(start, end, card.geometry)
        joint = (start, end) if job.seams.joint and len(parts) > 1 else None
        _check_joint(job, joint)
        for part in parts:
            source = _input_key(index, part, size, job.fit)
            yield Chunk(
                index=number,
                shot=shot,
                start=part.start,
                end=part.end,
                padding=part.padding,
                lead=part.lead,
                noise_origin=start,
                input_key=source,
                chunk_key=_chunk_key(job, card, shot, start, source, joint, deep),
            )
            number += 1


def _input_key(index: FrameIndex, part: ChunkRange, size: tuple[int, int], fit: str) -> str:
    return input_key(
        InputFields(
            source_sha256=index.sha256,
            stream=index.stream,
            start=part.start,
            end=part.end,
            padding=part.padding,
            width=size[0],
            height=size[1],
            fit=fit,
            colour=str(index.colour),
            tone_curve=index.tone_curve or "none",
            deinterlacing=DEINTERLACER if index.deinterlace else "none",
            resampler=RESAMPLER,
        )
    )


def _check_joint(job: EditJob, joint: tuple[int, int] | None) -> None:
    if joint is not None and joint[1] - joint[0] > JOINT_FRAMES:
        raise PermanentError(
            f"job {job.job_id}: the shot of frames {joint[0]} to {joint[1] - 1} is too long to be edited as one: "
            f"seams=joint takes at most {JOINT_FRAMES} frames. Shorten it with the column cuts, or use blend"
        )


def _chunk_key(
    job: EditJob, card: Card, shot: int, noise_origin: int, source: str, joint: tuple[int, int] | None, deep: bool
) -> str:
    instruction, seed = asked_of(job, shot)
    return chunk_key(
        ChunkFields(
            input_key=source,
            noise_origin=noise_origin,
            joint_range=joint,
            editor=job.editor,
            editor_version=card.editor_version,
            weights_digest=card.digest,
            loras=(),
            instruction=instruction,
            prompts=(),
            mask_sha256="",
            reference_sha256="",
            seed=seed,
            sampling=job.sampling,
            numerics=f"{card.numerics}, 16 bits" if deep else card.numerics,
        )
    )


# -- estimate ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """What a plan will take. Bytes rest on `CHUNK_BYTES_PER_PIXEL` and `DELIVERABLE_BYTES_PER_PIXEL`."""

    frames: int
    """Frames delivered."""
    chunks: int
    edited_frames: int
    """Frames that the model sees: with overlaps and padding."""
    seconds: float
    """Editing on one of the card's reference devices."""
    scratch_bytes: int
    """On the flow's disk while it runs: each chunk's input before it is put, and the deliverable written aside."""
    store_bytes: int
    """Added to the store: an input and an output a chunk."""


def estimate(plan: VideoPlan, index: FrameIndex, card: Card) -> Estimate:
    """What `plan` will take if nothing of it is done yet."""
    frames = plan.job.end - plan.job.start
    edited = sum(chunk.frames for chunk in plan.chunks)
    inputs = math.ceil(edited * plan.width * plan.height * CHUNK_BYTES_PER_PIXEL)
    deliverable = math.ceil(frames * index.width * index.height * DELIVERABLE_BYTES_PER_PIXEL)
    return Estimate(
        frames=frames,
        chunks=len(plan.chunks),
        edited_frames=edited,
        seconds=edited * card.seconds_per_frame * _effort(plan, card),
        scratch_bytes=inputs + deliverable,
        store_bytes=2 * inputs,
    )


def _effort(plan: VideoPlan, card: Card) -> float:
    """Times the default recipe's work: the network's forwards take nearly all of the time."""
    if plan.job.sampling is None:
        return 1.0
    return _forwards(plan.job.sampling) / _forwards(card.recipes[0][1])


def _forwards(recipe: Recipe) -> float:
    """Two a guided step, one a step without guidance; what a step cache saves depends on the clip: not counted."""
    return recipe.steps * (1 + (recipe.guided if recipe.guidance != 1 else 0))


def total(estimates: Iterable[Estimate]) -> Estimate:
    """The sum over several plans that run one after another; scratch is the largest, for it is given back."""
    parts = list(estimates)
    return Estimate(
        frames=sum(part.frames for part in parts),
        chunks=sum(part.chunks for part in parts),
        edited_frames=sum(part.edited_frames for part in parts),
        seconds=sum(part.seconds for part in parts),
        scratch_bytes=max((part.scratch_bytes for part in parts), default=0),
        store_bytes=sum(part.store_bytes for part in parts),
    )
