"""The Job of one round: the reviewed YAML template, patched by the settings and by what the round needs. Pure.

Jobs carry labels of our own only: Prefect's observer reacts to any Job with its label, and an owner reference to the
flow's pod would end the workers with the flow.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from edits.errors import SettingsError
from edits.settings import Settings
from edits.trust import local_path
from tasks.executor import RoundOrder
from tasks.kubernetes_pods import moment
from tasks.shard import worker_variables

WORKER = "samaflow-worker"
"""Value of the label `app.kubernetes.io/name` on every Job and pod of ours."""
SELECTOR = f"app.kubernetes.io/name={WORKER}"
DISPATCH = "samaflow/dispatch"
ROUND = "samaflow/round"
"""Labels of a Job and its pods."""
DIGEST = "samaflow/dispatch-digest"
INDEXES = "samaflow/indexes"
STORE = "samaflow/store"
"""Annotations of a Job."""

_TOLD = ("SAMAFLOW_PROFILE", "SAMAFLOW_ATTENTION", "SAMAFLOW_COMPILE", "SAMAFLOW_STRICT_PROMPTS")
"""Settings that pods are told; where folders lie in a pod is the template's matter."""

Json = dict[str, Any]


def job_name(dispatch_id: str, number: int) -> str:
    """The name says what it is, so that creating it twice is found out by the server."""
    return f"samaflow-{dispatch_id}-{number}"


@dataclass(frozen=True)
class Template:
    """The reviewed file, and what it is filled with in this run."""

    body: Json
    settings: Settings
    place: str
    """Where the file lies, for messages."""

    def job(self, order: RoundOrder, avoid: Collection[str] = ()) -> Json:
        """The Job of a round; its pods stay off the nodes in `avoid`."""
        body = copy.deepcopy(self.body)
        settings = self.settings
        labels = {DISPATCH: order.dispatch_id, ROUND: str(order.number)}
        metadata = body["metadata"]
        metadata["name"] = job_name(order.dispatch_id, order.number)
        metadata["namespace"] = settings.kubernetes_namespace
        metadata.setdefault("labels", {}).update(labels | self._queue())
        metadata.setdefault("annotations", {}).update(
            {DIGEST: order.digest, INDEXES: ",".join(map(str, order.indexes)), STORE: settings.store}
        )
        spec = body["spec"]
        spec["completions"] = len(order.indexes)
        spec["parallelism"] = min(order.places, len(order.indexes))
        spec["ttlSecondsAfterFinished"] = round(settings.kubernetes_ttl_hours * 3600)
        spec["template"]["metadata"].setdefault("labels", {}).update(labels)
        self._fill_pod(spec["template"]["spec"], order, avoid)
        return body

    def check_store(self) -> None:
        """Refuse a store in a folder that no container mounts at its own path. Raises SettingsError."""
        uri = self.settings.store
        containers = self.body["spec"]["template"]["spec"]["containers"]
        mounts = [mount["mountPath"] for container in containers for mount in container.get("volumeMounts") or ()]
        if uri.startswith("file:") and not any(local_path(uri).is_relative_to(mount) for mount in mounts):
            raise SettingsError(
                f"[store] uri {uri}: pods do not see this machine's folders. Set it to s3://bucket/prefix, or mount "
                f"the folder in {self.place} at its own path."
            )

    def _queue(self) -> dict[str, str]:
        queue = self.settings.kubernetes_queue
        return {"kueue.x-k8s.io/queue-name": queue} if queue else {}

    def _fill_pod(self, pod: Json, order: RoundOrder, avoid: Collection[str]) -> None:
        settings = self.settings
        pod["activeDeadlineSeconds"] = round(settings.kubernetes_deadline_hours * 3600)
        pod["serviceAccountName"] = settings.kubernetes_service_account
        if name := priority_class(settings.kubernetes_priority_classes, order.priority):
            pod["priorityClassName"] = name
        selector = settings.kubernetes_node_selector
        if order.larger_device and settings.kubernetes_larger_node_selector:
            selector = settings.kubernetes_larger_node_selector
        pod["nodeSelector"] = {**pod.get("nodeSelector", {}), **selector}
        pod["tolerations"] = [*pod.get("tolerations", ()), *map(toleration, settings.kubernetes_tolerations)]
        if avoid:
            pod["affinity"] = _away_from(pod.get("affinity") or {}, avoid)
        self._fill_container(_worker(pod, self.place), order)

    def _fill_container(self, container: Json, order: RoundOrder) -> None:
        settings = self.settings
        if settings.kubernetes_image:
            container["image"] = settings.kubernetes_image
        container["args"] = [
            f"{settings.store.rstrip('/')}/dispatches/{order.dispatch_id}/",
            *("--attempt", str(order.attempt)),
            *("--name", "$(POD_NAME)"),
            *("--indexes", ",".join(map(str, order.indexes))),
        ]
        told = worker_variables(settings)
        container["env"] = [*container.get("env", ()), *({"name": name, "value": told[name]} for name in _TOLD)]
        endpoint = settings.kubernetes_store_endpoint_url or settings.endpoint_url
        if endpoint:
            container["env"].append({"name": "AWS_ENDPOINT_URL", "value": endpoint})
        if settings.kubernetes_store_secret:
            source = {"secretRef": {"name": settings.kubernetes_store_secret}}
            container.setdefault("envFrom", []).append(source)
        _fill_resources(container.setdefault("resources", {}), settings, order)


def load_template(settings: Settings) -> Template:
    """Read the template that the settings name.

    Raises:
        SettingsError: it cannot be read or is no Indexed Job with a container `worker`.
    """
    path = settings.kubernetes_job_template
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(
            f"{path}: the Job template cannot be read: {error}. Set [kubernetes] job_template."
        ) from error
    return checked_template(body, settings, path)


def checked_template(body: Any, settings: Settings, path: Path) -> Template:
    """Hold a template to what this code fills in.

    Raises:
        SettingsError: it is no Indexed Job with a container `worker`.
    """
    spec = body.get("spec") if isinstance(body, dict) else None
    if not isinstance(spec, dict) or body.get("kind") != "Job" or spec.get("completionMode") != "Indexed":
        raise SettingsError(f"{path}: not a Job with completionMode Indexed; start from k8s/job_template.yaml")
    template = spec.get("template")
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        raise SettingsError(f"{path}: spec.template.spec is missing; start from k8s/job_template.yaml")
    body.setdefault("metadata", {}).setdefault("labels", {})["app.kubernetes.io/name"] = WORKER
    template.setdefault("metadata", {}).setdefault("labels", {})["app.kubernetes.io/name"] = WORKER
    _worker(template["spec"], str(path))
    for text in settings.kubernetes_tolerations:
        toleration(text)
    priority_class(settings.kubernetes_priority_classes, 0)
    return Template(body, settings, str(path))


def _worker(pod: Json, place: str) -> Json:
    for container in pod.get("containers") or ():
        if container.get("name") == "worker":
            return container  # type: ignore[no-any-return]
    raise SettingsError(f"{place}: no container is called 'worker'; start from k8s/job_template.yaml")


def memory_gib(settings: Settings, steps: int) -> float:
    """Host memory of a worker after so many ends for want of it."""
    most = max(settings.kubernetes_memory_gib, settings.kubernetes_max_memory_gib)
    return float(min(settings.kubernetes_memory_gib * 2.0**steps, most))


def _fill_resources(resources: Json, settings: Settings, order: RoundOrder) -> None:
    memory = f"{round(memory_gib(settings, order.host_memory_steps) * 1024)}Mi"
    requests, limits = resources.setdefault("requests", {}), resources.setdefault("limits", {})
    requests["memory"] = limits["memory"] = memory
    if count := str(settings.kubernetes_gpus or ""):
        limits[settings.kubernetes_gpu_resource] = requests[settings.kubernetes_gpu_resource] = count


def _away_from(affinity: Mapping[str, Any], avoid: Collection[str]) -> Json:
    """The template's affinity, and on none of these nodes: terms are alternatives, so that each gets the condition."""
    whole = copy.deepcopy(dict(affinity))
    required = whole.setdefault("nodeAffinity", {}).setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    condition = {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": sorted(avoid)}
    for term in required.setdefault("nodeSelectorTerms", [{}]):
        term.setdefault("matchExpressions", []).append(condition)
    return whole


def toleration(text: str) -> Json:
    """A toleration as kubectl writes the taint: `key=value:Effect`, `key:Effect`, `key=value` or `key`.

    Raises:
        SettingsError: an effect that Kubernetes does not know.
    """
    taint, _, effect = text.partition(":")
    if effect not in ("", "NoSchedule", "PreferNoSchedule", "NoExecute"):
        raise SettingsError(
            f"[kubernetes] tolerations: '{text}': after ':' comes NoSchedule, PreferNoSchedule or NoExecute"
        )
    key, equals, value = taint.partition("=")
    match = {"operator": "Equal", "value": value} if equals else {"operator": "Exists"}
    return {"key": key, **match, **({"effect": effect} if effect else {})}


def priority_class(classes: Mapping[str, str], priority: int) -> str:
    """The class of the largest threshold that `priority` reaches; empty when it reaches none.

    Raises:
        SettingsError: a threshold that is no whole number.
    """
    try:
        reached = [(int(least), name) for least, name in classes.items() if priority >= int(least)]
    except ValueError as error:
        raise SettingsError(
            f"[kubernetes] priority_classes: {error.args[0].rpartition(' ')[2]} is no whole number; "
            'write {"0" = "name-of-a-class"}'
        ) from error
    return max(reached, default=(0, ""))[1]


# -- what the API server says of a Job --------------------------------------------------------------------------------


@dataclass(frozen=True)
class JobView:
    """The part of a Job that decides."""

    name: str
    uid: str
    dispatch_id: str
    """Empty for a Job that is not ours."""
    number: int
    """Of the round."""
    digest: str
    store: str
    indexes: tuple[int, ...]
    """Shard index by completion index."""
    created_at: datetime
    parallelism: int
    failed_indexes: frozenset[int]
    """Completion indexes that Kubernetes has given up."""
    finished: bool
    reason: str
    """Of its last condition: `CompletionsReached`, `FailedIndexes`, `DeadlineExceeded`."""
    deleting: bool


def job_view_of(whole: Mapping[str, Any]) -> JobView:
    """The record of a Job as the API server gives it."""
    metadata, status = whole["metadata"], whole.get("status") or {}
    labels, notes = metadata.get("labels") or {}, metadata.get("annotations") or {}
    last = [c for c in status.get("conditions") or () if c["type"] in ("Complete", "Failed") and c["status"] == "True"]
    number = labels.get(ROUND, "")
    return JobView(
        name=metadata["name"],
        uid=metadata["uid"],
        dispatch_id=labels.get(DISPATCH, ""),
        number=int(number) if number.isdecimal() else 0,
        digest=notes.get(DIGEST, ""),
        store=notes.get(STORE, ""),
        indexes=tuple(int(part) for part in notes.get(INDEXES, "").split(",") if part.isdecimal()),
        created_at=moment(metadata["creationTimestamp"]),
        parallelism=(whole.get("spec") or {}).get("parallelism") or 1,
        failed_indexes=frozenset(_numbers(status.get("failedIndexes") or "")),
        finished=bool(last),
        reason=last[-1].get("reason", "") if last else "",
        deleting=bool(metadata.get("deletionTimestamp")),
    )


def _numbers(text: str) -> Iterator[int]:
    """Kubernetes writes `1,3-5`."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
