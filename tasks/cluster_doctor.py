"""Asks a cluster the questions of `tasks.cluster_checks`, before anything is dispatched, and has a pod look around."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from edits.errors import ClusterError, ClusterSetupError, SamaflowError, SettingsError
from edits.settings import Settings
from tasks.cluster_checks import (
    RIGHTS,
    check_claim,
    check_nodes,
    check_probe,
    check_quotas,
    check_rights,
    claims_of,
)
from tasks.executor import RoundOrder
from tasks.finding import Finding
from tasks.kubernetes_api import Cluster, connect
from tasks.kubernetes_job import Json, Template, load_template
from tasks.kubernetes_pods import outcome_of_pod, pod_of, trouble_of_pod
from tasks.probe import ProbeReport

PROBE_SECONDS = 300.0
"""How long a probe pod may take to be scheduled, pull its image and look around."""
PROBE_LABEL = "samaflow-probe"


def doctor_cluster(settings: Settings, expected: Mapping[str, str]) -> list[Finding]:
    """Everything; a probe pod is started only when nothing else is broken.

    `expected` are the digests of the weights that rows may name, by name.
    """
    try:
        cluster = connect(settings).with_pauses((1.0,))
    except SamaflowError as error:
        return [_broken("cluster", error)]
    try:
        findings = examine_cluster(cluster, settings)
        broken = [finding.subject for finding in findings if finding.level == "broken"]
        if set(broken) <= {"GPU nodes"}:  # the probe needs none
            findings += probe_cluster(cluster, settings, expected)
        else:
            detail = f"no pod was started to look around: first mend {', '.join(dict.fromkeys(broken))}"
            findings.append(Finding("probe", "warning", detail, "then ask again"))
    except SamaflowError as error:
        return [_broken("cluster", error)]
    finally:
        cluster.close()
    return findings


def examine_cluster(cluster: Cluster, settings: Settings) -> list[Finding]:
    """What can be known without making anything.

    Raises:
        ClusterError: the server does not answer.
        ClusterSetupError: it does not let us ask.
        SettingsError: the Job template cannot be used.
    """
    denied = [right for right in RIGHTS if not cluster.may(right.verb, right.group, right.resource)]
    template = load_template(settings)
    job = template.job(RoundOrder("doctor", "", 1, (0,), 1))
    pod = job["spec"]["template"]["spec"]
    gpu = settings.kubernetes_gpu_resource
    return [
        _version(cluster),
        check_rights(denied, cluster.namespace),
        _store(template),
        _admission(cluster, job),
        _unless_forbidden("GPU nodes", lambda: check_nodes(cluster.nodes(), pod, gpu)),
        _unless_forbidden("quota", lambda: check_quotas(cluster.quotas(), pod)),
        *(_claim(cluster, name) for name in claims_of(pod)),
    ]


def _version(cluster: Cluster) -> Finding:
    major, minor = cluster.version()
    try:
        cluster.require_version()
    except ClusterSetupError as error:
        return _broken("cluster", error)
    return Finding("cluster", "fine", f"Kubernetes {major}.{minor}, namespace {cluster.namespace}")


def _admission(cluster: Cluster, job: Json) -> Finding:
    """Whether the server would take a worker's Job: the namespace, the schema, policies of the cluster."""
    try:
        cluster.create_job(job, dry_run=True)
    except ClusterSetupError as error:
        return _broken("Job", error)
    return Finding("Job", "fine", "the API server would take a worker's Job")


def _claim(cluster: Cluster, name: str) -> Finding:
    return _unless_forbidden("weights volume", lambda: check_claim(name, cluster.claim(name)))


def _unless_forbidden(subject: str, look: Callable[[], Finding]) -> Finding:
    """What nobody needs for a run may be hidden from the one who asks: then it is not known, and not broken."""
    try:
        return look()
    except ClusterSetupError as error:
        return Finding(subject, "warning", f"not known: {error}", "ask somebody who may look")


def _store(template: Template) -> Finding:
    try:
        template.check_store()
    except SettingsError as error:
        return _broken("pods' store", error)
    return Finding("pods' store", "fine", template.settings.store)


def _broken(subject: str, error: SamaflowError) -> Finding:
    """Most errors say themselves what to do."""
    silent = isinstance(error, ClusterError)
    remedy = "is it up, and is it the one that the kubeconfig, or [kubernetes] context, should name?" if silent else ""
    return Finding(subject, "broken", str(error), remedy)


# -- the probe --------------------------------------------------------------------------------------------------------


def probe_cluster(
    cluster: Cluster, settings: Settings, expected: Mapping[str, str], seconds: float = PROBE_SECONDS
) -> list[Finding]:
    """Start a pod like a worker's, without a GPU, and read what it saw; nothing of it is left."""
    made = cluster.create_job(probe_job(load_template(settings)))
    name = made["metadata"]["name"]
    try:
        report = _wait(cluster, name, seconds)
    finally:
        cluster.delete_job(name, made["metadata"]["uid"])
    if isinstance(report, Finding):
        return [report]
    return check_probe(report, settings.store, expected)


def probe_job(template: Template) -> Json:
    """The Job of a probe: a worker's, with `tasks.probe` in its container, little memory and no GPU."""
    job = template.job(RoundOrder("probe", "", 1, (0,), 1))
    settings = template.settings
    job["metadata"] |= {"name": f"{PROBE_LABEL}-{uuid.uuid4().hex[:8]}", "annotations": {}}
    for metadata in (job["metadata"], job["spec"]["template"]["metadata"]):
        # Not a worker's name: nobody shall adopt it, or take it for a leftover.
        metadata["labels"] = {**metadata["labels"], "app.kubernetes.io/name": PROBE_LABEL}
        for ours in ("samaflow/dispatch", "samaflow/round"):
            metadata["labels"].pop(ours, None)
    job["spec"] |= {"backoffLimitPerIndex": 0, "ttlSecondsAfterFinished": 600}
    pod = job["spec"]["template"]["spec"]
    pod["activeDeadlineSeconds"] = int(PROBE_SECONDS)
    container = next(item for item in pod["containers"] if item["name"] == "worker")
    container["command"] = ["python", "-m", "tasks.probe"]
    container["args"] = [settings.store]
    resources: dict[str, Any] = container["resources"]
    for kind in ("requests", "limits"):
        resources[kind].pop(settings.kubernetes_gpu_resource, None)
        resources[kind]["memory"] = "512Mi"
    resources["requests"]["cpu"] = "100m"
    return job


def _wait(cluster: Cluster, name: str, seconds: float) -> ProbeReport | Finding:
    """What the pod of the probe said, or why it said nothing."""
    deadline = time.monotonic() + seconds
    said = "no pod was made"
    while time.monotonic() < deadline:
        pods = [pod_of(body) for body in cluster.pods(f"batch.kubernetes.io/job-name={name}").items]
        for pod in pods:
            if outcome := outcome_of_pod(pod):
                return _report(cluster.pod_log(pod.name), f"{outcome.summary}; {outcome.remedy}".rstrip("; "))
            trouble = trouble_of_pod(pod)
            said = str(trouble) if trouble else f"pod {pod.name} is {pod.phase}"
            if trouble and trouble.lasting:
                return Finding("probe", "broken", trouble.summary, trouble.remedy)
        if not pods and (warnings := cluster.warnings_about(name)):
            return Finding("probe", "broken", f"no pod can be made: {warnings[-1]}", "mend what the message names")
        time.sleep(min(1.0, seconds / 20))
    return Finding("probe", "broken", f"after {seconds:.0f} s: {said}", "mend what keeps the pod, then ask again")


def _report(log: str, ended: str) -> ProbeReport | Finding:
    try:
        return ProbeReport(**json.loads(log.strip().splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        said = log.strip().splitlines()[-1:] or [ended]
        remedy = "is [kubernetes] image the GPU image of this version?"
        return Finding("probe", "broken", f"the probe pod said nothing of use: {said[0]}", remedy)
