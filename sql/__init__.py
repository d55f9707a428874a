"""The database, and the only package that knows SQLAlchemy: named functions that take and return frozen records.

Only the flow side writes; workers never connect. Errors are those of `edits.errors`.
"""

from sql.answers import FailureCause, MadeFile, ModelLine, Recall, StateTime, Stuck, StuckDispatch, StuckJob, UsageLine
from sql.artifacts import (
    artifact_at,
    artifact_by_digest,
    file_with_stream,
    output_of,
    record_known_lineage,
    record_lineage,
    record_output_digest,
    record_qc,
)
from sql.attempts import record_attempt
from sql.chunks import record_chunk_done, record_input, record_plan
from sql.dispatches import (
    adopt,
    adoptable,
    begin_round,
    claim,
    claimed_chunks,
    dispatch,
    end_dispatch,
    record_lost_dispatch,
    record_shards,
    unwanted_chunks,
)
from sql.edit_jobs import (
    cancel_requested,
    change_state,
    delivered_jobs,
    job,
    job_events,
    jobs,
    record_job,
    request_cancel,
    walk_to_delivered,
)
from sql.flow_runs import record_flow_run
from sql.keeping import Policy, PrunableChunk, forget_chunks, prunable_chunks, unused_inputs
from sql.leases import release_job, take_job
from sql.lineage import lineage_of
from sql.model_versions import record_model_version
from sql.owners import STALE_SECONDS, beat, this_process
from sql.questions import failures, made_from, source_digest, stuck, times, touched_by, usage
from sql.records import (
    ENDED,
    ArtifactKind,
    ArtifactRecord,
    AttemptRecord,
    ClaimResult,
    DispatchRecord,
    DispatchState,
    FlowRunRecord,
    Holdings,
    JobEvent,
    JobRecord,
    JobStatus,
    Owner,
)
from sql.revisions import migrate, open_database, revision
from sql.session import Database, connect
from sql.sources import manifest_content, record_lost_source, record_manifest, record_source
from sql.status import counts, job_table

__all__ = [
    "ENDED",
    "STALE_SECONDS",
    "ArtifactKind",
    "ArtifactRecord",
    "AttemptRecord",
    "ClaimResult",
    "Database",
    "DispatchRecord",
    "DispatchState",
    "FailureCause",
    "FlowRunRecord",
    "Holdings",
    "JobEvent",
    "JobRecord",
    "JobStatus",
    "MadeFile",
    "ModelLine",
    "Owner",
    "Policy",
    "PrunableChunk",
    "Recall",
    "StateTime",
    "Stuck",
    "StuckDispatch",
    "StuckJob",
    "UsageLine",
    "adopt",
    "adoptable",
    "artifact_at",
    "artifact_by_digest",
    "beat",
    "begin_round",
    "cancel_requested",
    "change_state",
    "claim",
    "claimed_chunks",
    "connect",
    "counts",
    "delivered_jobs",
    "dispatch",
    "end_dispatch",
    "failures",
    "file_with_stream",
    "forget_chunks",
    "job",
    "job_events",
    "job_table",
    "jobs",
    "lineage_of",
    "made_from",
    "manifest_content",
    "migrate",
    "open_database",
    "output_of",
    "prunable_chunks",
    "record_attempt",
    "record_chunk_done",
    "record_flow_run",
    "record_input",
    "record_job",
    "record_known_lineage",
    "record_lineage",
    "record_lost_dispatch",
    "record_lost_source",
    "record_manifest",
    "record_model_version",
    "record_output_digest",
    "record_plan",
    "record_qc",
    "record_shards",
    "record_source",
    "release_job",
    "request_cancel",
    "revision",
    "source_digest",
    "stuck",
    "take_job",
    "this_process",
    "times",
    "touched_by",
    "unused_inputs",
    "unwanted_chunks",
    "usage",
    "walk_to_delivered",
]
