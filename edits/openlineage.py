"""A job's life and a deliverable's lineage in the words of OpenLineage, spec 2-0-2: one run a video.

Job is the editor, run is the job in one flow run, datasets are files, their version is the sha256.
"""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import urlsplit

import attr
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    RunFacet,
    dataset_version_dataset,
    error_message_run,
    parent_run,
    processing_engine_run,
)
from openlineage.client.serde import Serde

from edits.job import EditJob
from edits.lineage import ChunkLineage, Lineage
from edits.shots import asked_of, instructions_of

PRODUCER = "urn:samaflow"
NAMESPACE = "samaflow"


@attr.define
class EditRunFacet(RunFacet):
    """What decided the pixels. A text that is not disclosed is empty."""

    job_id: str
    project: str
    instruction: str
    editor: str
    weights: str
    weights_digest: str
    seed: int
    frames: str
    deliverable: str
    code_version: str = ""
    lock_digest: str = ""

    @staticmethod
    def _get_schema() -> str:
        return "urn:samaflow:schema:EditRunFacet:1"


@attr.define
class StreamsDatasetFacet(DatasetFacet):
    """The digests of a deliverable's packets, which outlive a change of the wrapping."""

    streams: list[dict[str, str]]

    @staticmethod
    def _get_schema() -> str:
        return "urn:samaflow:schema:StreamsDatasetFacet:1"


def run_id_of(job_id: str, flow_run_id: str) -> str:
    """One run a job and flow run: the same for its start and its end."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"samaflow:{job_id}:{flow_run_id}"))


def started(job: EditJob, flow_run_id: str, disclose: bool) -> RunEvent:
    """The job's work begins."""
    return _event(RunState.START, job, flow_run_id, {"samaflow_edit": _edit(job, disclose)}, [_source(job)], [])


def ended(job: EditJob, flow_run_id: str, state: RunState, message: str, disclose: bool) -> RunEvent:
    """The job failed or was given up."""
    facets: dict[str, RunFacet] = {
        "samaflow_edit": _edit(job, disclose),
        "errorMessage": error_message_run.ErrorMessageRunFacet(message=message, programmingLanguage="python"),
    }
    return _event(state, job, flow_run_id, facets, [_source(job)], [])


def completed(lineage: Lineage, flow_run_id: str, disclose: bool, when: str = "") -> RunEvent:
    """The job delivered; `when` (ISO 8601) is now unless given."""
    job, origin = lineage.job, lineage.origin
    edit = _edit(job, disclose)
    edit.code_version = lineage.code_version
    edit.lock_digest = origin.lock_digest if origin is not None else ""
    engine = processing_engine_run.ProcessingEngineRunFacet(version=lineage.code_version, name="samaflow")
    facets: dict[str, RunFacet] = {"samaflow_edit": edit, "processing_engine": engine}
    return _event(RunState.COMPLETE, job, flow_run_id, facets, [_source(job), *_weights(job)], [_output(lineage)], when)


def to_json(event: RunEvent) -> str:
    """One line."""
    return str(Serde.to_json(event))


def _event(
    state: RunState,
    job: EditJob,
    flow_run_id: str,
    facets: dict[str, RunFacet],
    inputs: list[InputDataset],
    outputs: list[OutputDataset],
    when: str = "",
) -> RunEvent:
    if flow_run_id:
        parent = parent_run.Run(runId=flow_run_id)
        name = parent_run.Job(namespace=NAMESPACE, name="edit-manifest")
        facets = {**facets, "parent": parent_run.ParentRunFacet(run=parent, job=name)}
    return RunEvent(
        eventType=state,
        eventTime=when or datetime.now(UTC).isoformat(),
        run=Run(runId=run_id_of(job.job_id, flow_run_id), facets=facets),
        job=Job(namespace=NAMESPACE, name=f"edit-video.{job.editor}"),
        producer=PRODUCER,
        inputs=inputs,
        outputs=outputs,
    )


def _edit(job: EditJob, disclose: bool) -> EditRunFacet:
    return EditRunFacet(
        job_id=job.job_id,
        project=job.project,
        instruction=instructions_of(job) if disclose else "",
        editor=job.editor,
        weights=job.weights,
        weights_digest=job.weights_digest,
        seed=job.seed,
        frames=f"{job.start}-{job.end - 1}",
        deliverable=job.deliverable,
    )


def _source(job: EditJob) -> InputDataset:
    return InputDataset(*_place(job.source), facets={"version": _version(job.source_sha256)})


def _weights(job: EditJob) -> list[InputDataset]:
    if not job.weights_digest:
        return []
    name = f"{job.editor}/{job.weights}"
    return [InputDataset(f"{NAMESPACE}:weights", name, facets={"version": _version(job.weights_digest)})]


def _output(lineage: Lineage) -> OutputDataset:
    streams = [{"kind": s.kind, "codec": s.codec, "sha256": s.sha256} for s in lineage.streams]
    facets = {"version": _version(lineage.sha256), "samaflow_streams": StreamsDatasetFacet(streams=streams)}
    return OutputDataset(*_place(lineage.uri), facets=facets)


def _version(sha256: str) -> DatasetFacet:
    return dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=sha256)


def _place(uri: str) -> tuple[str, str]:
    """Namespace and name as OpenLineage's naming has them: `s3://bucket` and the key, `file` and the path."""
    parts = urlsplit(uri)
    if parts.scheme == "s3":
        return f"s3://{parts.netloc}", parts.path.lstrip("/")
    return "file", parts.path


# -- tables -----------------------------------------------------------------------------------------------------------

COLUMNS = (
    *("deliverable", "sha256", "recorded_at", "job_id", "project", "source", "source_sha256", "instruction", "editor"),
    *("editor_version", "weights", "weights_digest", "seed", "deliverable_form", "code_version", "submitted_by"),
    *("start", "end", "chunk_key", "chunk_sha256", "input_sha256", "device", "edit_seconds"),
)
"""Of the CSV export: a line a chunk, frames `[start, end)` of the source."""


def to_csv(lineages: Iterable[Lineage], disclose: bool) -> Iterable[str]:
    """The lines of a CSV file, the heading first."""
    yield _csv_line(COLUMNS)
    for lineage in lineages:
        job = lineage.job
        submitted = lineage.origin.submitted_by if lineage.origin is not None else ""
        for chunk in lineage.chunks:
            yield _csv_line(
                (
                    *(lineage.uri, lineage.sha256, lineage.recorded_at, job.job_id, job.project, job.source),
                    *(job.source_sha256, _asked(lineage, chunk) if disclose else "", job.editor, chunk.editor_version),
                    *(job.weights, job.weights_digest, chunk.seed, job.deliverable, lineage.code_version, submitted),
                    *(chunk.start, chunk.end, chunk.chunk_key, chunk.sha256, chunk.input_sha256, chunk.device),
                    chunk.seconds.get("edit", ""),
                )
            )


def _asked(lineage: Lineage, chunk: ChunkLineage) -> str:
    """The instruction of the chunk's shot."""
    shots = lineage.plan.shots if lineage.plan is not None else ()
    found = (number for number, (start, end) in enumerate(shots) if start <= chunk.start < end)
    return asked_of(lineage.job, next(found, 0))[0]


def _csv_line(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
