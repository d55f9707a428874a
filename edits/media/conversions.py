"""What became of a source's pictures on their way to the editor and into the deliverable, a sentence a conversion.

For people: reports, review pages, `qc.json` and plans say the same words. Pure; opens nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import PurePosixPath
from urllib.parse import unquote

from edits.job import EditJob, VideoPlan
from edits.media.deliverables import DELIVERABLES, deliverable_for, writable_suffixes
from edits.media.fit import window_of
from edits.media.formats import FORMATS, stored_format
from edits.media.records import FrameIndex

_BACK = "what it changed comes back through the inverse, as a difference"
_HDR = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
_TURNED = {90: "90 degrees counterclockwise", 180: "180 degrees", 270: "90 degrees clockwise"}
"""By `FrameIndex.rotation`."""
_ALIKE = Fraction(1, 100)
"""Shapes this near are one: working sizes are multiples of what the model needs."""
_SUBSAMPLINGS = {(1, 1): "4:2:0", (1, 0): "4:2:2", (0, 1): "4:4:0", (0, 0): "4:4:4"}


def conversions(plan: VideoPlan, index: FrameIndex) -> tuple[str, ...]:
    """One sentence for each conversion that the job makes, in the order of their making; `index` is as the job asks."""
    job = plan.job
    return (
        *_read(job, index),
        *_shown(job, index),
        *_fitted(plan, index),
        *_kept(index),
        *_written(job.deliverable, index),
        *lost_depth(job.deliverable, index),
    )


def lost_depth(deliverable: str, index: FrameIndex) -> tuple[str, ...]:
    """What to be warned of where the deliverable has fewer bits than its source; empty where it has as many."""
    depth = deliverable_for(deliverable, index).depth(index)
    if depth >= index.bit_depth:
        return ()
    deep = [name for name in DELIVERABLES if name != "match" and _keeps_depth(name, index)]
    remedy = f"; choose {' or '.join(deep)} to keep them" if deep else ""
    bands = ", which shows as bands in HDR" if index.colour.transfer in _HDR else ""
    return (f"{index.bit_depth} bits written as {depth}{bands}{remedy}",)


def _keeps_depth(name: str, index: FrameIndex) -> bool:
    return DELIVERABLES[name].depth(index) >= index.bit_depth and bool(writable_suffixes(name, index))


def _read(job: EditJob, index: FrameIndex) -> Iterator[str]:
    """Before anything is computed."""
    if index.is_sequence and job.rate is not None:
        yield f"pictures read at {job.rate} frames a second, as the row says"
    if index.deinterlace:
        yield f"deinterlaced: {index.interlaced} of {index.frames} frames, by bwdif, one frame for each"
    if index.rotation:
        yield f"turned {_TURNED[index.rotation]} and written upright"


def _shown(job: EditJob, index: FrameIndex) -> Iterator[str]:
    """What lies between the source's colour and what the editor sees."""
    if index.lut is not None:
        name = PurePosixPath(unquote(job.lut)).name
        yield f"camera log shown to the editor through {name} (sha256 {index.lut.sha256}), {_BACK}"
    elif index.tone_curve:
        curve = f"the curve of ITU-R BT.2446, method A, from {index.hdr_peak} cd/m2"
        yield f"HDR ({_HDR[index.colour.transfer]}) shown to the editor through {curve}, {_BACK}"


def _fitted(plan: VideoPlan, index: FrameIndex) -> Iterator[str]:
    """How the picture becomes the working size; it is delivered in its own."""
    window = window_of(index, plan.width, plan.height, plan.fit)
    own, whole = (index.width, index.height), (plan.width, plan.height)
    inner = (window.width, window.height)
    if own == whole:
        return
    shape = index.width * index.sample_aspect_ratio / index.height
    squeezed = window.whole and abs(Fraction(*whole) / shape - 1) > _ALIKE
    steps = [f"{'squeezed' if squeezed else 'scaled'} from {_size(own)} to {_size(inner)}"] if own != inner else []
    if not window.whole:
        steps.append(f"padded from {_size(inner)} to {_size(whole)}")
    yield f"{' and '.join(steps)} for the editor, delivered in {_size(own)}"


def _kept(index: FrameIndex) -> Iterator[str]:
    """What is unusual and stays, or was asked to be left out."""
    if index.alpha:
        yield "alpha channel carried, untouched" if index.carries_alpha else "alpha channel dropped"
    if index.sample_aspect_ratio != 1:
        ratio = index.sample_aspect_ratio
        yield f"pixels that are not square ({ratio.numerator}:{ratio.denominator}) kept as they are"
    if index.rate is None:
        yield "variable frame rate kept: every frame at its own time"


def _written(deliverable: str, index: FrameIndex) -> Iterator[str]:
    """How the deliverable's samples differ from the source's; of their bits `lost_depth` tells."""
    entry = deliverable_for(deliverable, index)
    colour = entry.colour(index)
    before, after = _subsampling(index.pixel_format), _subsampling(entry.pixel_format(index))
    if (colour.matrix == "gbr") != (index.colour.matrix == "gbr"):
        yield f"RGB written as YUV {after}, {colour.matrix}" if index.colour.matrix == "gbr" else "YUV written as RGB"
        return
    if before != after:
        yield f"chroma of {before} written as {after}"
    if colour.range != index.colour.range:
        yield "full range written as limited range"


def _subsampling(name: str) -> str:
    form = FORMATS[stored_format(name, "picture").computed]
    return _SUBSAMPLINGS[form.shift_w, form.shift_h]


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
