"""How long loading and a chunk take: as measured in earlier runs, else as the card says."""

from __future__ import annotations

import sql
from edits.job import VideoPlan
from tasks.packing import Timings
from tasks.run import Run

LOADING = 180.0
"""Seconds to load a model from a volume, until a run has measured it: 28 GB at 160 MB/s."""
LOADING_BUILTIN = 3.0
"""Seconds to start a worker whose editor has no model."""


def timings_of(run: Run, plan: VideoPlan) -> Timings:
    """What to expect of the chunks of one plan's editor and weights."""
    job = plan.job
    measured = sql.measured_seconds(run.db, job.editor, job.weights)
    card = run.catalogue[job.editor].weights[job.weights]
    frames = max((chunk.frames for chunk in plan.chunks), default=0)
    chunk = measured.chunk if measured.chunk is not None else frames * card.seconds_per_frame
    default = LOADING if job.weights_digest else LOADING_BUILTIN
    return Timings(measured.load if measured.load is not None else default, max(chunk, 0.001))
