"""What a pod's status means: how its worker ended, or why it does not start. Pure functions over the API's JSON.

Counted by cause: what the cluster did to a pod (preempted, evicted, drained, node lost) is not the worker's attempt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tasks.exits import Outcome, outcome_of

INDEX = "batch.kubernetes.io/job-completion-index"
JOB = "batch.kubernetes.io/job-name"

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Pod:
    """The part of a pod that decides."""

    name: str
    uid: str
    job: str
    index: int
    """Completion index within the Job; -1 for a pod of no Indexed Job."""
    node: str
    phase: str
    """`Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`."""
    reason: str
    message: str
    disruption: str
    """Reason of the condition DisruptionTarget; empty without."""
    unschedulable: str
    """The scheduler's message; empty when it has a node."""
    waiting: str
    """Reason for which the container waits; empty when it does not."""
    waiting_message: str
    ended: str
    """Reason with which the container ended (`Completed`, `Error`, `OOMKilled`); empty while it has not."""
    exit_code: int | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    deleting: bool
    image: str
    """What the node resolved the container's image to: `registry/name@sha256:...`; empty until it is pulled."""

    @property
    def over(self) -> bool:
        return self.phase in ("Succeeded", "Failed")


def pod_of(whole: Json) -> Pod:
    """The record of a pod as the API server gives it."""
    metadata, status = whole["metadata"], whole.get("status") or {}
    conditions = {item["type"]: item for item in status.get("conditions") or () if item.get("status") == "True"}
    scheduled: Json = next((item for item in status.get("conditions") or () if item["type"] == "PodScheduled"), {})
    container: Json = next(iter(status.get("containerStatuses") or ()), {})
    state: Json = container.get("state") or {}
    ended, waiting = state.get("terminated") or {}, state.get("waiting") or {}
    labels = metadata.get("labels") or {}
    index = labels.get(INDEX) or (metadata.get("annotations") or {}).get(INDEX) or "-1"
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        job=labels.get(JOB) or labels.get("job-name", ""),
        index=int(index),
        node=(whole.get("spec") or {}).get("nodeName") or "",
        phase=status.get("phase") or "Pending",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        disruption=(conditions.get("DisruptionTarget") or {}).get("reason") or "",
        unschedulable=scheduled.get("message", "") if scheduled.get("reason") == "Unschedulable" else "",
        waiting=waiting.get("reason") or "",
        waiting_message=waiting.get("message") or "",
        ended=ended.get("reason") or "",
        exit_code=ended.get("exitCode"),
        created_at=moment(metadata["creationTimestamp"]),
        started_at=_moment_or_none((state.get("running") or ended).get("startedAt") or status.get("startTime")),
        ended_at=_moment_or_none(ended.get("finishedAt")),
        deleting=bool(metadata.get("deletionTimestamp")),
        image=container.get("imageID") or "",
    )


def moment(text: str) -> datetime:
    """A timestamp of the API, which is in UTC."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def _moment_or_none(text: str | None) -> datetime | None:
    return moment(text) if text else None


# -- how it ended -----------------------------------------------------------------------------------------------------

VANISHED = Outcome("vanished", True, False, "the pod is gone and nobody saw it end")

_DISRUPTIONS = {
    "PreemptionByScheduler": ("preempted", "preempted by a pod of higher priority", ""),
    "PreemptionByKueue": ("preempted", "preempted by Kueue for other work", ""),
    "TerminationByKubelet": (
        "evicted",
        "ended by its node, which was short of a resource or shuts down",
        "if it happens often, raise the memory and the scratch volume that the Job template asks for",
    ),
    "EvictionByEvictionAPI": ("evicted", "evicted, as when a node is drained", ""),
    "DeletionByTaintManager": ("evicted", "its node was tainted, as before a spot node is taken away", ""),
    "DeletionByPodGC": ("node_lost", "its node is gone", ""),
}

_REASONS = {
    "Evicted": (
        "evicted",
        "evicted by its node",
        "raise the memory and the scratch volume that the Job template asks for",
    ),
    "Preempting": ("preempted", "preempted by a pod of higher priority", ""),
    "Preempted": ("preempted", "preempted by a pod of higher priority", ""),
    "Shutdown": ("node_lost", "its node was shut down", ""),
    "Terminated": ("node_lost", "its node was shut down", ""),
    "NodeShutdown": ("node_lost", "its node was shut down", ""),
    "NodeLost": ("node_lost", "its node does not answer", ""),
    "NodeAffinity": ("node_lost", "its node's labels were changed", ""),
    "UnexpectedAdmissionError": ("node", "its node could not give it the GPU", "look at the node's device plugin"),
}

_ENDS = {
    "StartError": ("start", "its container could not be started", "check the image and the command in it"),
    "ContainerCannotRun": ("start", "its container could not be started", "check the image and the command in it"),
    "ContainerStatusUnknown": ("node_lost", "its node lost sight of it", ""),
}

UNCOUNTED = frozenset({"preempted", "evicted", "node_lost"})
"""What the cluster did: no attempt of the worker's."""


def outcome_of_pod(pod: Pod) -> Outcome | None:
    """How a pod's worker ended; None while it may still run. The pod's own reasons come before its exit code."""
    if not pod.over:
        return None
    if pod.phase == "Succeeded":
        return outcome_of(0)
    if pod.ended == "OOMKilled":
        remedy = "the next round gets more; or raise [kubernetes] memory_gib"
        return Outcome("host_memory", True, True, "killed for want of host memory", remedy)
    if pod.reason == "DeadlineExceeded":
        remedy = "raise [kubernetes] deadline_hours"
        return Outcome("deadline", True, True, "ran longer than a worker may", remedy)
    known = _DISRUPTIONS.get(pod.disruption) or _REASONS.get(pod.reason) or _ENDS.get(pod.ended)
    if known is None and pod.disruption:
        known = ("evicted", f"disrupted by the cluster ({pod.disruption})", "")
    if known is None and pod.reason.startswith("OutOf"):
        known = ("node", f"its node had no room for it after all ({pod.reason})", "look at the node's device plugin")
    if known is None:
        return VANISHED if pod.exit_code is None else outcome_of(pod.exit_code)
    category, summary, remedy = known
    detail = f": {pod.message}" if pod.message else ""
    return Outcome(category, True, category not in UNCOUNTED, f"{summary}{detail}", remedy)


# -- why it does not start --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trouble:
    """Why a pod that waits does not start."""

    category: str
    """`unschedulable`, `image`, `configuration`, `volume`."""
    summary: str
    remedy: str
    lasting: bool
    """Whether time alone will not mend it."""

    def __str__(self) -> str:
        return f"{self.summary}; {self.remedy}" if self.remedy else self.summary


_WAITING = {
    "ErrImagePull": ("image", "its image cannot be pulled", "check [kubernetes] image and the pull secret", True),
    "ImagePullBackOff": ("image", "its image cannot be pulled", "check [kubernetes] image and the pull secret", True),
    "InvalidImageName": ("image", "its image has no valid name", "correct [kubernetes] image", True),
    "ErrImageNeverPull": ("image", "its image is not on the node", "let the node pull it, or load it there", True),
    "CreateContainerConfigError": (
        "configuration",
        "its container cannot be set up",
        "create the Secret or ConfigMap that the message names",
        True,
    ),
    "CreateContainerError": ("configuration", "its container cannot be made", "see the message", True),
    "RunContainerError": ("configuration", "its container cannot be started", "check the image's command", True),
}

_SCHEDULER = (
    (r"persistentvolumeclaim .* not found", "volume", "create the weights volume: docs/kubernetes.md", True),
    (r"unbound immediate PersistentVolumeClaims", "volume", "bind the weights volume: is there a storage class?", True),
    (
        r"didn't match Pod's node affinity/selector",
        "unschedulable",
        "correct [kubernetes] node_selector, or label a node",
        False,
    ),
    (r"untolerated taint", "unschedulable", "add the taint to [kubernetes] tolerations", False),
    (r"Insufficient \S*gpu", "unschedulable", "all GPUs are taken: wait, or add GPU nodes", False),
    (r"Insufficient memory", "unschedulable", "lower [kubernetes] memory_gib, or add nodes with more of it", False),
    (r"Insufficient cpu", "unschedulable", "wait, or add nodes with free CPU cores", False),
)


def trouble_of_pod(pod: Pod) -> Trouble | None:
    """Why a pod waits; None when it runs, has ended, or is merely being started."""
    if pod.phase != "Pending" or pod.deleting:
        return None
    if pod.unschedulable:
        return _unschedulable(pod)
    if pod.waiting in _WAITING:
        category, summary, remedy, lasting = _WAITING[pod.waiting]
        detail = f" ({pod.waiting_message})" if pod.waiting_message else ""
        return Trouble(category, f"pod {pod.name}: {summary}{detail}", remedy, lasting)
    return None


def _unschedulable(pod: Pod) -> Trouble:
    """The scheduler says for each node the first thing that is against it: each may be the one to mend."""
    message = pod.unschedulable.rstrip(".")
    found = [known for known in _SCHEDULER if re.search(known[0], message)]
    remedies = dict.fromkeys(remedy for _, _, remedy, _ in found)
    category = found[0][1] if found else "unschedulable"
    lasting = any(lasts for _, _, _, lasts in found)
    summary = f"no node for pod {pod.name}: {message}"
    return Trouble(category, summary, "; or ".join(remedies) or "add nodes, or wait", lasting)
