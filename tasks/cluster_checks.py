"""Whether a cluster can do what it will be asked: pure functions over its answers, each finding with its remedy.

`tasks.cluster_doctor` asks the questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from tasks.finding import Finding
from tasks.probe import ProbeReport

Json = Mapping[str, Any]


# -- rights -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Right:
    """One thing that the API server may be asked to do in the namespace."""

    verb: str
    group: str
    resource: str
    """With its subresource: `pods/log`."""
    purpose: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}{f'.{self.group}' if self.group else ''}"


RIGHTS = (
    Right("create", "batch", "jobs", "start workers"),
    Right("get", "batch", "jobs", "find a Job again after a restart"),
    Right("list", "batch", "jobs", "follow Jobs"),
    Right("watch", "batch", "jobs", "follow Jobs"),
    Right("delete", "batch", "jobs", "end workers that nobody wants"),
    Right("list", "", "pods", "see how workers fare"),
    Right("watch", "", "pods", "see how workers fare"),
    Right("get", "", "pods/log", "quote what a worker said last"),
    Right("list", "", "events", "say why a pod does not start"),
)
"""What a run needs; the role `samaflow-flow` of k8s/base grants it."""


def check_rights(denied: Iterable[Right], namespace: str) -> Finding:
    """`denied` are those of `RIGHTS` that the server will refuse."""
    missing = list(denied)
    if not missing:
        return Finding("rights", "fine", f"all {len(RIGHTS)} in namespace {namespace}")
    reasons = "; ".join(f"may not {right} (to {right.purpose})" for right in missing)
    remedy = (
        f"bind the role: kubectl -n {namespace} create rolebinding samaflow-operator "
        "--role=samaflow-operator --user=YOU"
    )
    return Finding("rights", "broken", f"namespace {namespace}: {reasons}", remedy)


# -- nodes ------------------------------------------------------------------------------------------------------------


def check_nodes(nodes: Sequence[Json], pod: Json, gpu_resource: str) -> Finding:
    """Whether a node with GPUs would take the worker's `pod`; a pod that asks for no GPU needs none."""
    gpus = requests_of(pod).get(f"requests.{gpu_resource}", Decimal(0))
    if not gpus:
        return Finding("GPU nodes", "fine", "workers use no GPU")
    able = [node for node in nodes if _allocatable(node, gpu_resource) >= gpus]
    if not able:
        detail = f"none of {len(nodes)} nodes offers {gpus} {gpu_resource}"
        remedy = (
            "install the GPU's device plugin, or add GPU nodes, or set [kubernetes] gpu_resource; "
            "a node pool that grows from zero shows none while nothing runs"
        )
        return Finding("GPU nodes", "broken", detail, remedy)
    selector = pod.get("nodeSelector") or {}
    chosen = [node for node in able if selector.items() <= (node["metadata"].get("labels") or {}).items()]
    if not chosen:
        labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
        detail = f"{len(able)} nodes have GPUs, none of them the labels {labels}"
        return Finding("GPU nodes", "broken", detail, "correct [kubernetes] node_selector, or label the nodes")
    tolerations = pod.get("tolerations") or ()
    taints = [next(_untolerated(node, tolerations), "") for node in chosen]
    if all(taints):
        detail = f"all {len(chosen)} GPU nodes keep the workers off: {', '.join(sorted(set(taints)))}"
        return Finding("GPU nodes", "broken", detail, "add the taint to [kubernetes] tolerations")
    usable = [node for node, taint in zip(chosen, taints, strict=True) if not taint]
    count = sum(_allocatable(node, gpu_resource) for node in usable)
    return Finding("GPU nodes", "fine", f"{count} GPUs on {len(usable)} nodes")


def _allocatable(node: Json, resource: str) -> Decimal:
    return _quantity((node.get("status", {}).get("allocatable") or {}).get(resource, "0"))


def _untolerated(node: Json, tolerations: Iterable[Json]) -> Iterator[str]:
    """Taints that keep a pod off: of a cordoned or unready node too, for the node controller writes them as taints."""
    for taint in node.get("spec", {}).get("taints") or ():
        if taint["effect"] != "PreferNoSchedule" and not any(_tolerates(item, taint) for item in tolerations):
            value = f"={taint['value']}" if taint.get("value") else ""
            yield f"{taint['key']}{value}:{taint['effect']}"


def _tolerates(toleration: Json, taint: Json) -> bool:
    """After the scheduler's rule: an empty key with Exists tolerates all, an empty effect every effect."""
    exists = toleration.get("operator") == "Exists"
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if not toleration.get("key"):
        return exists
    return toleration["key"] == taint["key"] and (exists or toleration.get("value", "") == taint.get("value", ""))


# -- quotas -----------------------------------------------------------------------------------------------------------


def check_quotas(quotas: Sequence[Json], pod: Json) -> Finding:
    """Whether the namespace's quotas admit a Job of one `pod`; those with scopes are for other pods and left out."""
    needs = requests_of(pod) | dict.fromkeys(("pods", "count/pods", "count/jobs.batch"), Decimal(1))
    tight = []
    for quota in quotas:
        if quota["spec"].get("scopes") or quota["spec"].get("scopeSelector"):
            continue
        for key, text in (quota["spec"].get("hard") or {}).items():
            name, hard = f"quota {quota['metadata']['name']}", _quantity(text)
            if key not in needs:
                if key in _DEMANDING:
                    detail = f"{name} counts {key}, and a worker names none"
                    return Finding("quota", "broken", detail, "name it in the Job template, or give it a LimitRange")
                continue
            if needs[key] > hard:
                detail = f"{name} allows {text} of {key}, one worker needs {needs[key]:f}"
                return Finding("quota", "broken", detail, "raise the quota, or ask for less in [kubernetes]")
            used = _quantity((quota.get("status", {}).get("used") or {}).get(key, "0"))
            if needs[key] > hard - used:
                tight.append(f"{name}: {used:f} of {text} {key} are used")
    if tight:
        return Finding("quota", "warning", "; ".join(tight), "new workers wait until others end, or raise the quota")
    return Finding("quota", "fine", f"{len(quotas)} quotas admit a worker" if quotas else "no quota")


def _quantity(text: object) -> Decimal:
    """`4`, `500m` or `48Gi` as a number."""
    return Decimal(parse_quantity(text))  # type: ignore[no-untyped-call]


_DEMANDING = ("limits.cpu", "limits.memory", "requests.cpu", "requests.memory", "cpu", "memory")
"""What every container must name once a quota counts it."""


def requests_of(pod: Json) -> dict[str, Decimal]:
    """What the containers of a pod ask for in sum, by the keys of quotas; a limit without a request is a request."""
    total: dict[str, Decimal] = {}
    for container in pod["containers"]:
        resources = container.get("resources") or {}
        limits = resources.get("limits") or {}
        asked = {**limits, **(resources.get("requests") or {})}
        named = [(f"requests.{name}", text) for name, text in asked.items()]
        named += [(f"limits.{name}", text) for name, text in limits.items()]
        named += [(name, text) for name, text in asked.items() if name in ("cpu", "memory")]
        for key, text in named:
            total[key] = total.get(key, Decimal(0)) + _quantity(text)
    return total


# -- the weights volume -----------------------------------------------------------------------------------------------


def claims_of(pod: Json) -> list[str]:
    """Names of the volume claims that a pod mounts."""
    volumes = pod.get("volumes") or ()
    return [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]


def check_claim(name: str, claim: Json | None) -> Finding:
    """The volume claim that workers mount; None when there is none."""
    remedy = "kubectl apply -k k8s/weights fills it; its storage class must exist (docs/kubernetes.md)"
    if claim is None:
        return Finding("weights volume", "broken", f"there is no volume claim {name}", f"create it; {remedy}")
    phase = claim.get("status", {}).get("phase", "Pending")
    if phase == "Lost":
        return Finding("weights volume", "broken", f"claim {name} has lost its volume", f"create it anew; {remedy}")
    if phase != "Bound":
        return Finding("weights volume", "warning", f"claim {name} is {phase}: no pod has used it so far", remedy)
    return Finding("weights volume", "fine", f"claim {name} is bound")


# -- what a probe pod saw ---------------------------------------------------------------------------------------------


def check_probe(report: ProbeReport, store: str, expected: Mapping[str, str]) -> list[Finding]:
    """`expected` are the digests of the weights that rows may name, by name."""
    return [_store_finding(report, store), *_weights_findings(report, expected)]


def _store_finding(report: ProbeReport, store: str) -> Finding:
    if not report.store:
        return Finding("store from a pod", "fine", store)
    remedy = (
        "give the network policy `store` the store's addresses, set [kubernetes] store_endpoint_url to what pods "
        "can reach, and give workers rights (a workload identity, or [kubernetes] store_secret)"
    )
    return Finding("store from a pod", "broken", f"{store}: {report.store}", remedy)


def _weights_findings(report: ProbeReport, expected: Mapping[str, str]) -> Iterator[Finding]:
    fill = "kubectl apply -k k8s/weights fills the volume (docs/kubernetes.md)"
    if report.problem:
        yield Finding("weights in the volume", "broken", report.problem, fill)
        return
    for name, digest in sorted(expected.items()):
        found = report.weights.get(name)
        if found is None:
            yield Finding("weights in the volume", "broken", f"{name} is not there", fill)
        elif found != digest:
            detail = f"{name} has digest {found[:16]}, rows are planned for {digest[:16]}"
            yield Finding("weights in the volume", "broken", detail, f"install the same weights on both sides; {fill}")
    if all(report.weights.get(name) == digest for name, digest in expected.items()):
        shown = ", ".join(f"{name} {digest[:16]}" for name, digest in sorted(report.weights.items()))
        yield Finding("weights in the volume", "fine", shown or "none; only editors without installed weights can run")
