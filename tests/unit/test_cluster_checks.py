"""What the doctor makes of a cluster's answers: every trouble is named, with the thing to change."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.cluster_checks import (
    RIGHTS,
    check_claim,
    check_nodes,
    check_probe,
    check_quotas,
    check_rights,
    claims_of,
    requests_of,
)
from tasks.probe import ProbeReport
from tests.fakes.manifests import OVERLAYS, rendered

GPU = "nvidia.com/gpu"
H100 = {"nvidia.com/gpu.product": "H100"}
TAINT = {"key": GPU, "effect": "NoSchedule"}
DIGEST = "ab" * 32


def node(
    gpus: int = 8, labels: dict[str, str] | None = None, taints: tuple[dict[str, str], ...] = ()
) -> dict[str, Any]:
    allocatable = {"cpu": "64", **({GPU: str(gpus)} if gpus else {})}
    return {
        "metadata": {"labels": labels or {}},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": allocatable},
    }


def pod(gpus: int = 1, **fields: Any) -> dict[str, Any]:
    limits = {"memory": "48Gi", **({GPU: gpus} if gpus else {})}
    return {"containers": [{"name": "worker", "resources": {"requests": {"cpu": "4"}, "limits": limits}}], **fields}


def quota(**hard: str) -> dict[str, Any]:
    names = {"gpus": f"requests.{GPU}", "jobs": "count/jobs.batch", "memory": "limits.memory", "cpu": "limits.cpu"}
    counted = {names.get(key, key): value for key, value in hard.items()}
    return {"metadata": {"name": "q"}, "spec": {"hard": counted}, "status": {}}


# -- rights


def test_a_missing_right_is_named_by_verb_and_resource() -> None:
    denied = [right for right in RIGHTS if str(right) in ("delete jobs.batch", "get pods/log")]
    found = check_rights(denied, "films")
    assert found.level == "broken"
    assert "may not delete jobs.batch" in found.detail
    assert "may not get pods/log" in found.detail
    assert "-n films" in found.remedy


@pytest.mark.parametrize("role", ["samaflow-flow", "samaflow-operator"])
def test_the_roles_of_the_manifests_grant_what_is_needed(role: str) -> None:
    for overlay in OVERLAYS:
        rules = next(i for i in rendered(overlay) if i["kind"] == "Role" and i["metadata"]["name"] == role)["rules"]
        granted = {
            (v, g, r) for rule in rules for v in rule["verbs"] for g in rule["apiGroups"] for r in rule["resources"]
        }
        assert {(right.verb, right.group, right.resource) for right in RIGHTS} <= granted


# -- nodes


def test_gpus_of_nodes_that_take_the_pod_are_counted() -> None:
    found = check_nodes([node(8), node(4, taints=(TAINT,)), node(0)], pod(), GPU)
    assert (found.level, found.detail) == ("fine", "8 GPUs on 1 nodes")


@pytest.mark.parametrize(
    ("nodes", "fields", "detail", "remedy"),
    [
        ([], {}, "none of 0 nodes", "add GPU nodes"),
        ([node(0)], {}, "none of 1 nodes offers 1 nvidia.com/gpu", "device plugin"),
        ([node()], {"nodeSelector": H100}, "none of them the labels nvidia.com/gpu.product=H100", "node_selector"),
        ([node(labels=H100, taints=(TAINT,))], {"nodeSelector": H100}, "nvidia.com/gpu:NoSchedule", "tolerations"),
        (
            [node(taints=({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},))],
            {},
            "unschedul",
            "taint",
        ),
    ],
)
def test_what_keeps_a_worker_off_all_nodes_is_named(
    nodes: list[Any], fields: dict[str, Any], detail: str, remedy: str
) -> None:
    found = check_nodes(nodes, pod(**fields), GPU)
    assert found.level == "broken"
    assert detail in found.detail
    assert remedy in found.remedy


@pytest.mark.parametrize(
    "toleration",
    [
        {"operator": "Exists"},
        {"key": GPU, "operator": "Exists"},
        {"key": GPU, "operator": "Exists", "effect": "NoSchedule"},
        {"key": GPU, "operator": "Equal", "value": ""},
    ],
)
def test_a_toleration_opens_a_tainted_node(toleration: dict[str, str]) -> None:
    assert check_nodes([node(taints=(TAINT,))], pod(tolerations=[toleration]), GPU).level == "fine"


def test_a_toleration_of_something_else_does_not() -> None:
    other = {"key": GPU, "operator": "Exists", "effect": "NoExecute"}
    assert check_nodes([node(taints=(TAINT,))], pod(tolerations=[other]), GPU).level == "broken"


def test_workers_on_the_cpu_need_no_gpu_nodes() -> None:
    assert check_nodes([], pod(gpus=0), GPU).level == "fine"


# -- quotas


def test_requests_follow_limits_and_are_summed_over_containers() -> None:
    two = pod()
    two["containers"] *= 2
    found = {key: int(value) for key, value in requests_of(two).items()}
    assert found[f"requests.{GPU}"] == 2
    assert found["requests.memory"] == found["limits.memory"] == found["memory"] == 96 * 2**30
    assert found["requests.cpu"] == 8
    assert "limits.cpu" not in found


@pytest.mark.parametrize(
    ("hard", "said"),
    [
        ({"gpus": "0"}, "allows 0 of requests.nvidia.com/gpu, one worker needs 1"),
        ({"pods": "0"}, "allows 0 of pods"),
        ({"jobs": "0"}, "allows 0 of count/jobs.batch"),
        ({"memory": "32Gi"}, "allows 32Gi of limits.memory"),
        ({"cpu": "64"}, "counts limits.cpu, and a worker names none"),
    ],
)
def test_a_quota_that_forbids_a_worker_is_named(hard: dict[str, str], said: str) -> None:
    found = check_quotas([quota(gpus="8"), quota(**hard)], pod())
    assert found.level == "broken"
    assert said in found.detail


def test_a_quota_that_is_used_up_only_makes_workers_wait() -> None:
    full = quota(gpus="8")
    full["status"]["used"] = {f"requests.{GPU}": "8"}
    assert check_quotas([full], pod()).level == "warning"


def test_a_quota_for_other_pods_is_left_out() -> None:
    scoped = quota(gpus="0")
    scoped["spec"]["scopes"] = ["BestEffort"]
    assert check_quotas([scoped], pod()).level == "fine"


# -- volume and probe


def test_the_claims_of_a_pod_are_those_that_it_mounts() -> None:
    volumes = [{"name": "w", "persistentVolumeClaim": {"claimName": "weights"}}, {"name": "s", "emptyDir": {}}]
    assert claims_of({"volumes": volumes}) == ["weights"]


@pytest.mark.parametrize(
    ("claim", "level"),
    [
        (None, "broken"),
        ({"status": {"phase": "Lost"}}, "broken"),
        ({"status": {"phase": "Pending"}}, "warning"),
        ({"status": {"phase": "Bound"}}, "fine"),
    ],
)
def test_a_claim_is_there_and_bound_or_the_doctor_says_how_to_fill_it(claim: Any, level: str) -> None:
    found = check_claim("samaflow-weights", claim)
    assert found.level == level
    assert ("kubectl apply -k k8s/weights" in found.remedy) == (level != "fine")


@pytest.mark.parametrize(
    ("report", "broken", "said"),
    [
        (ProbeReport("", {"14b": DIGEST}), [], DIGEST[:16]),
        (ProbeReport("no answer: timed out", {"14b": DIGEST}), ["store from a pod"], "timed out"),
        (ProbeReport("", {}), ["weights in the volume"], "14b is not there"),
        (ProbeReport("", {"14b": "cd" * 32}), ["weights in the volume"], "has digest cdcd"),
        (ProbeReport("", {}, "there is no folder /weights"), ["weights in the volume"], "/weights"),
    ],
)
def test_what_a_pod_saw_is_held_against_what_rows_are_planned_for(
    report: ProbeReport, broken: list[str], said: str
) -> None:
    found = check_probe(report, "s3://bucket/store", {"14b": DIGEST})
    assert [finding.subject for finding in found if finding.level == "broken"] == broken
    assert any(said in finding.detail for finding in found)
    assert all(finding.remedy for finding in found if finding.level == "broken")
