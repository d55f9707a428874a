"""The last step before publishing: a deliverable that says what it is, or the record that it does not."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote

from edits import certificates, provenance
from edits.errors import VerificationError
from edits.job import EditJob, VideoPlan
from edits.keys import sha256_of
from edits.media import child
from edits.media.records import Verification
from edits.shots import instructions_of
from tasks.run import Run
from tasks.version import code_version

log = logging.getLogger(__name__)

OFF = "none: turned off by [credentials] sign = false"


@dataclass(frozen=True)
class Finished:
    """A file that is ready to be published."""

    path: Path
    verification: Verification
    """Of the stitched file; digest and size are those of `path`."""
    credentials: str
    """What was said of content credentials, for the record."""
    sidecar: bytes | None = None
    """What goes beside the file when the file itself cannot carry it."""


def check_identity(run: Run) -> None:
    """Before any work: the certificate and the key can sign, and C2PA accepts what they sign.

    Raises:
        SettingsError: they cannot.
    """
    if run.settings.sign:
        provenance.check(identity_of(run))


def identity_of(run: Run) -> certificates.Identity:
    settings = run.settings
    with run.lock("identity"):
        folder = settings.state_folder / "credentials"
        return certificates.identity(folder, settings.certificate, settings.key, settings.key_service)


def finish(run: Run, plan: VideoPlan, stitched: Path, source: Path, verification: Verification) -> Finished:
    """Sign the stitched file, unless the settings say otherwise.

    Raises:
        VerificationError: signing failed, or would have changed a stream.
    """
    job = plan.job
    if not run.settings.sign:
        log.warning("job %s is published without content credentials: [credentials] sign = false", job.job_id)
        return Finished(stitched, verification, OFF)
    identity, claim = identity_of(run), claim_of(plan, run.settings.disclose)
    if stitched.suffix.lower() not in provenance.FORMATS:
        beside = provenance.sidecar(claim, verification.sha256, identity)
        return Finished(stitched, verification, f"beside the file, signed by {identity.name}", beside)
    signed = stitched.with_name(f"signed{stitched.suffix}")
    provenance.embed(stitched, signed, claim, source, identity, run.settings.timestamp_url)
    if child.run("packets", signed, run.limits) != verification.streams:
        raise VerificationError(f"{job.output}: signing changed a stream; turn it off with [credentials] sign = false")
    signed_verification = replace(verification, sha256=sha256_of(signed), size=signed.stat().st_size)
    return Finished(signed, signed_verification, f"C2PA, signed by {identity.name}")


def claim_of(plan: VideoPlan, disclose: str) -> provenance.Claim:
    """What may be told of a job: model and instruction, the model alone, or neither, nor the source's name."""
    job = plan.job
    told = {"source_title": "source"} if disclose == "minimal" else {"source_title": _name(job.source), **_model(plan)}
    if disclose == "full":
        told["instruction"] = instructions_of(job)
    return provenance.Claim(
        title=_name(job.output),
        job_id=job.job_id,
        generator=f"samaflow {code_version()}",
        digital_source_type=provenance.SOURCE_TYPE,
        source_sha256=job.source_sha256,
        **told,
    )


def _model(plan: VideoPlan) -> dict[str, str]:
    job: EditJob = plan.job
    return {
        "editor": job.editor,
        "editor_version": plan.editor_version,
        "weights": job.weights,
        "weights_digest": job.weights_digest,
    }


def _name(uri: str) -> str:
    return unquote(uri.rsplit("/", 1)[-1])
