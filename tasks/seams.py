"""What the seams of a deliverable are worth: small pictures that the stitch left, measured by `metrics`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edits.job import STRICT
from edits.media.blend import takeovers
from edits.media.records import Check, StitchRequest
from edits.media.samples import Seam, read_samples, seams_of
from metrics.seams import AT_LEAST, AT_MOST, Moment, SeamMeasure, Step, seam_measure, step


@dataclass(frozen=True)
class MeasuredSeam:
    """One seam in numbers; 1 is as good as no seam."""

    __pydantic_config__ = STRICT
    frame: int
    """The first source frame in which the later chunk has a part."""
    frames: int
    """Steps from frame to frame that the seam takes."""
    controls: int
    """Steps away from any seam that it is held against."""
    difference: float
    warp: float
    luma: float
    sharpness: float
    shows: tuple[str, ...]
    """Measures that are beyond their bound."""


@dataclass(frozen=True)
class MeasuredSeams:
    """`jobs/<job_id>/report/seams.json`."""

    __pydantic_config__ = STRICT
    seams: tuple[MeasuredSeam, ...]
    count: int
    """Seams that the deliverable has; of very many only some are measured."""


def measured(request: StitchRequest) -> MeasuredSeams:
    """Measure the seams of the deliverable that `request` made. Nothing is decoded but the small pictures.

    Raises:
        VerificationError: they are damaged.
    """
    plan = takeovers(request.chunks, *request.edited_range, request.blend)
    shots = [chunk.shot for chunk in request.chunks]
    seams = seams_of(plan, shots)
    steps = _steps(request, seams)
    found = [_measured(seam, steps) for seam in seams]
    return MeasuredSeams(tuple(found), sum(one == other for one, other in pairwise(shots)))


def check_of(found: MeasuredSeams) -> Check:
    """What is written into the job's checks. A seam that shows is reported and never fails a job: people decide."""
    bounds = [f"{name} at most {bound:g}" for name, bound in AT_MOST.items()]
    bounds += [f"{name} at least {bound:g}" for name, bound in AT_LEAST.items()]
    showing = [seam for seam in found.seams if seam.shows]
    told = ", ".join(f"frame {seam.frame} ({', '.join(seam.shows)})" for seam in showing[:5])
    more = f" and {len(showing) - 5} more" if len(showing) > 5 else ""
    said = f"to be looked at: {told}{more}" if showing else "none shows"
    what = f"{len(found.seams)} of {found.count} measured; {said}"
    return Check("seams (reported only)", True, ", ".join(bounds), what)


def _steps(request: StitchRequest, seams: Sequence[Seam]) -> dict[int, Step]:
    """The step to each frame that a seam or a control asks for."""
    wanted = {number for seam in seams for number in (*seam.steps, *seam.controls)}
    found: dict[int, Step] = {}
    before: tuple[int, Moment] | None = None
    for number, source, result in read_samples(request.output, seams):
        moment = Moment(source, result)
        if number in wanted and before is not None and before[0] == number - 1:
            found[number] = step(before[1], moment)
        before = number, moment
    return found


def _measured(seam: Seam, steps: dict[int, Step]) -> MeasuredSeam:
    measure: SeamMeasure = seam_measure([steps[n] for n in seam.steps], [steps[n] for n in seam.controls])
    return MeasuredSeam(
        frame=seam.first,
        frames=len(seam.steps),
        controls=len(seam.controls),
        difference=round(measure.difference, 3),
        warp=round(measure.warp, 3),
        luma=round(measure.luma, 3),
        sharpness=round(measure.sharpness, 3),
        shows=measure.shows,
    )
