"""What a pod's status means, by table; and Jobs as they are read and made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edits.errors import SettingsError
from tasks.executor import RoundOrder
from tasks.kubernetes_job import checked_template, job_view_of, load_template, priority_class, toleration
from tasks.kubernetes_pods import outcome_of_pod, pod_of, trouble_of_pod
from tests.fakes.cluster.controller import IMAGE
from tests.fakes.cluster.flow import settings_of

AT = "2026-11-26T12:00:00Z"


def pod(phase: str, state: dict[str, Any] | None = None, conditions: list[dict[str, str]] | None = None, **status: Any):  # type: ignore[no-untyped-def]
    labels = {"batch.kubernetes.io/job-name": "samaflow-d-1", "batch.kubernetes.io/job-completion-index": "3"}
    body = {
        "metadata": {"name": "p", "uid": "u", "creationTimestamp": AT, "labels": labels},
        "spec": {"nodeName": "node-a"},
        "status": {"phase": phase, "conditions": conditions or [], **status},
    }
    if state is not None:
        body["status"]["containerStatuses"] = [{"name": "worker", "state": state, "imageID": IMAGE}]
    return pod_of(body)


def ended(code: int, reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": AT, "finishedAt": AT}}


def target(reason: str) -> list[dict[str, str]]:
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason}]


@pytest.mark.parametrize(
    ("found", "category", "retry", "counts"),
    [
        (pod("Succeeded", ended(0, "Completed")), "done", False, True),
        (pod("Failed", ended(64)), "failed", False, True),
        (pod("Failed", ended(75)), "transient", True, True),
        (pod("Failed", ended(76)), "device_memory", True, True),
        (pod("Failed", ended(143)), "killed", True, False),
        (pod("Failed", ended(137)), "killed", True, False),
        (pod("Failed", ended(137, "OOMKilled")), "host_memory", True, True),
        (pod("Failed", ended(1)), "crashed", True, True),
        (pod("Failed", ended(143), target("PreemptionByScheduler")), "preempted", True, False),
        (pod("Failed", ended(143), target("EvictionByEvictionAPI")), "evicted", True, False),
        (pod("Failed", ended(137), target("DeletionByPodGC")), "node_lost", True, False),
        (pod("Failed", ended(143), target("SomethingNew")), "evicted", True, False),
        (pod("Failed", reason="Evicted", message="The node was low on resource: memory."), "evicted", True, False),
        (pod("Failed", ended(143), reason="DeadlineExceeded"), "deadline", True, True),
        (pod("Failed", reason="OutOfnvidia.com/gpu"), "node", True, True),
        (pod("Failed", reason="UnexpectedAdmissionError"), "node", True, True),
        (pod("Failed", ended(128, "StartError")), "start", True, True),
        (pod("Failed"), "vanished", True, False),
    ],
    ids=lambda value: value.reason or value.ended if hasattr(value, "ended") else None,
)
def test_a_pods_end_is_told_by_cause_and_what_the_cluster_did_is_no_attempt(
    found: Any, category: str, retry: bool, counts: bool
) -> None:
    outcome = outcome_of_pod(found)
    assert outcome is not None
    assert (outcome.category, outcome.retry, outcome.counts) == (category, retry, counts)
    assert outcome.summary


def test_a_pod_that_may_still_run_has_no_end() -> None:
    assert outcome_of_pod(pod("Running", {"running": {"startedAt": AT}})) is None
    assert outcome_of_pod(pod("Pending")) is None
    assert outcome_of_pod(pod("Unknown")) is None


def unschedulable(message: str) -> list[dict[str, str]]:
    return [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]


@pytest.mark.parametrize(
    ("message", "category", "remedy", "lasting"),
    [
        ("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.", "unschedulable", "add GPU nodes", False),
        ("0/3 nodes: 3 node(s) had untolerated taint {gpu: }.", "unschedulable", "tolerations", False),
        ("0/3: 3 node(s) didn't match Pod's node affinity/selector.", "unschedulable", "node_selector", False),
        ('persistentvolumeclaim "samaflow-weights" not found.', "volume", "weights volume", True),
        ("0/1 nodes are available: 1 Insufficient memory.", "unschedulable", "memory_gib", False),
        ("the moon is full.", "unschedulable", "wait", False),
    ],
)
def test_why_no_node_is_found_comes_with_what_to_do(message: str, category: str, remedy: str, lasting: bool) -> None:
    trouble = trouble_of_pod(pod("Pending", conditions=unschedulable(message)))
    assert trouble is not None
    assert (trouble.category, trouble.lasting) == (category, lasting)
    assert remedy in trouble.remedy
    assert message.rstrip(".") in str(trouble)


def test_every_reason_of_the_scheduler_is_told() -> None:
    message = "0/5 nodes are available: 2 Insufficient nvidia.com/gpu, 3 node(s) had untolerated taint {gpu: }."
    trouble = trouble_of_pod(pod("Pending", conditions=unschedulable(message)))
    assert trouble is not None
    assert "tolerations" in trouble.remedy
    assert "GPU nodes" in trouble.remedy


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName"])
def test_an_image_that_cannot_be_pulled_is_said(reason: str) -> None:
    trouble = trouble_of_pod(pod("Pending", {"waiting": {"reason": reason, "message": "no such host"}}))
    assert trouble is not None
    assert trouble.category == "image"
    assert trouble.lasting
    assert "no such host" in str(trouble)


def test_a_pod_that_is_being_started_is_in_no_trouble() -> None:
    assert trouble_of_pod(pod("Pending", {"waiting": {"reason": "ContainerCreating"}})) is None
    assert trouble_of_pod(pod("Running", {"running": {"startedAt": AT}})) is None


# -- Jobs -------------------------------------------------------------------------------------------------------------

ORDER = RoundOrder("d" * 12, "e" * 64, 2, (0, 3, 17), 2, priority=5)


def job(tmp_path: Path, order: RoundOrder = ORDER, avoid: frozenset[str] = frozenset(), **settings: object) -> Any:
    return load_template(settings_of(tmp_path, **settings)).job(order, avoid)


def test_the_job_says_what_it_is_and_is_read_back(tmp_path: Path) -> None:
    body = job(tmp_path)
    body["metadata"] |= {"uid": "u", "creationTimestamp": AT}
    body["status"] = {
        "failedIndexes": "0,2-3",
        "conditions": [{"type": "Failed", "status": "True", "reason": "FailedIndexes"}],
    }
    view = job_view_of(body)
    assert (view.name, view.dispatch_id, view.number) == (f"samaflow-{'d' * 12}-2", "d" * 12, 2)
    assert (view.indexes, view.digest, view.parallelism) == ((0, 3, 17), "e" * 64, 2)
    assert (view.failed_indexes, view.finished, view.reason) == ({0, 2, 3}, True, "FailedIndexes")
    assert body["spec"]["completions"] == 3


def test_the_job_carries_no_label_of_prefect_and_no_owner(tmp_path: Path) -> None:
    body = job(tmp_path)
    labels = {**body["metadata"]["labels"], **body["spec"]["template"]["metadata"]["labels"]}
    assert not [label for label in labels if "prefect" in label]
    assert "ownerReferences" not in body["metadata"]


def test_rules_of_failure_stand_in_the_order_of_the_protocol(tmp_path: Path) -> None:
    rules = job(tmp_path)["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "Ignore", "FailIndex"]
    assert rules[0]["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert [rule["onExitCodes"]["values"] for rule in rules[1:]] == [[143], [64, 76]]


def test_settings_reach_the_pod(tmp_path: Path) -> None:
    body = job(
        tmp_path,
        kubernetes_image="registry/gpu@sha256:1",
        kubernetes_gpus=2,
        kubernetes_gpu_resource="amd.com/gpu",
        kubernetes_node_selector={"pool": "spot"},
        kubernetes_tolerations=["gpu=yes:NoSchedule", "spot"],
        kubernetes_store_secret="s3",
        kubernetes_store_endpoint_url="http://store:9000",
        kubernetes_queue="video",
        kubernetes_priority_classes={"0": "low", "5": "high", "9": "urgent"},
        kubernetes_deadline_hours=2,
    )
    pod_spec = body["spec"]["template"]["spec"]
    container = pod_spec["containers"][0]
    assert container["image"] == "registry/gpu@sha256:1"
    assert container["resources"]["limits"]["amd.com/gpu"] == "2"
    assert {"name": "AWS_ENDPOINT_URL", "value": "http://store:9000"} in container["env"]
    assert container["envFrom"][-1] == {"secretRef": {"name": "s3"}}
    assert pod_spec["nodeSelector"]["pool"] == "spot"
    assert {"key": "spot", "operator": "Exists"} in pod_spec["tolerations"]
    assert (pod_spec["priorityClassName"], pod_spec["activeDeadlineSeconds"]) == ("high", 7200)
    assert body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "video"
    assert "suspend" not in body["spec"]


def test_more_memory_a_larger_device_and_other_nodes_are_what_the_next_round_asks_for(tmp_path: Path) -> None:
    order = RoundOrder("d", "e", 2, (0,), 1, host_memory_steps=1, larger_device=True)
    larger = {"gpu": "large"}
    body = job(
        tmp_path,
        order,
        frozenset({"node-b", "node-a"}),
        kubernetes_larger_node_selector=larger,
        kubernetes_memory_gib=10,
    )
    pod_spec = body["spec"]["template"]["spec"]
    assert pod_spec["containers"][0]["resources"]["limits"]["memory"] == "20480Mi"
    assert pod_spec["nodeSelector"]["gpu"] == "large"
    required = pod_spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (rule,) = required["nodeSelectorTerms"][0]["matchExpressions"]
    assert (rule["operator"], rule["values"]) == ("NotIn", ["node-a", "node-b"])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[]", "not a Job"),
        ({"kind": "Job", "spec": {"completionMode": "Indexed"}}, "spec.template.spec"),
        ({"kind": "Job", "spec": {"completionMode": "Indexed", "template": {"spec": {}}}}, "'worker'"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused(tmp_path: Path, body: Any, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        checked_template(body, settings_of(tmp_path), tmp_path / "job.yaml")


def test_words_of_tolerations_and_classes_are_checked() -> None:
    assert toleration("a=b:NoExecute") == {"key": "a", "operator": "Equal", "value": "b", "effect": "NoExecute"}
    with pytest.raises(SettingsError, match="NoSchedule"):
        toleration("a:Never")
    with pytest.raises(SettingsError, match="'high'"):
        priority_class({"high": "x"}, 0)


def test_a_pods_image_is_what_its_node_resolved_it_to() -> None:
    assert (pod("Succeeded", ended(0, "Completed")).image, pod("Pending").image) == (IMAGE, "")
