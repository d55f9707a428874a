"""What an operator applies to a cluster is well formed, restricted, complete and pinned."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes_validate
import pytest
import yaml

from sama_model.training import __main__ as training
from tests.fakes.manifests import OVERLAYS, PLACES, ROOT, Json, offences, pod_specs, rendered

OLDEST, NEWEST = "1.29", "1.37"
OPERATORS_SECRETS = {
    "samaflow-postgres",
    "samaflow-prefect",
    "samaflow-database",
    "samaflow-store",
    "prefect-server-tls",
}
"""What docs/kubernetes.md has the operator create."""


@pytest.fixture(scope="module")
def flow_run_job() -> Json:
    """The Job that Prefect's worker makes of the work pool's template for one flow run."""
    pytest.importorskip("prefect_kubernetes")
    from prefect.client.schemas.objects import FlowRun
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

    template = json.loads((ROOT / "k8s/work_pools/samaflow-kubernetes.json").read_text(encoding="utf-8"))
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):  # nothing is asked of it
        made = asyncio.run(
            KubernetesWorkerJobConfiguration.from_template_and_values(template, {"image": "flow:1", "env": {"A": "b"}})
        )
        made.prepare_for_flow_run(FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), name="Curious Cat"))
    job: Json = made.job_manifest
    for misplaced in ("parallelism", "completions"):  # Prefect demands them here; the API server drops them
        del job["spec"]["template"]["spec"][misplaced]
    return job


def job_template() -> Json:
    template: Json = yaml.safe_load((ROOT / "k8s/job_template.yaml").read_text(encoding="utf-8"))
    return template


def of_kind(objects: tuple[Json, ...], kind: str) -> dict[str, Json]:
    return {item["metadata"]["name"]: item for item in objects if item["kind"] == kind}


# -- well formed


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_what_its_api_version_knows(place: str, version: str) -> None:
    for item in rendered(place):
        kubernetes_validate.validate(item, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_jobs_of_workers_and_flow_runs_are_too(version: str, flow_run_job: Json) -> None:
    kubernetes_validate.validate(job_template(), version, strict=True)
    kubernetes_validate.validate(flow_run_job, version, strict=True)


@pytest.mark.parametrize("place", PLACES)
def test_the_official_client_takes_every_object(place: str) -> None:
    for item in rendered(place):
        prefix = "V1" if "/" not in item["apiVersion"] or item["apiVersion"].endswith("/v1") else item["apiVersion"]
        model = getattr(kubernetes.client, f"{prefix}{item['kind']}")
        assert model.from_dict(item).metadata.name == item["metadata"]["name"]


def test_a_misspelt_field_is_found() -> None:
    job = job_template()
    job["spec"]["template"]["spec"]["nodeselector"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, NEWEST, strict=True)


@pytest.mark.parametrize("component", ["egress_aws", "egress_google", "kueue", "review_pages"])
def test_a_component_that_no_overlay_takes_fits_the_base(component: str, tmp_path: Path) -> None:
    parts = [os.path.relpath(ROOT / "k8s" / part, tmp_path) for part in ("base", f"components/{component}")]
    whole = {"resources": parts[:1], "components": parts[1:], "namespace": "samaflow"}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(whole))
    added = [item for item in rendered(str(tmp_path)) if item not in rendered("k8s/base")]
    assert added
    for item in added:
        if item["kind"] != "LocalQueue":  # Kueue's own: no schema here knows it
            kubernetes_validate.validate(item, NEWEST, strict=True)


# -- restricted


@pytest.mark.parametrize("place", PLACES)
def test_every_pod_keeps_to_the_restricted_profile_and_more(place: str) -> None:
    pods = pod_specs(rendered(place))
    assert pods
    for name, pod in pods.items():
        assert offences(pod) == [], name
        assert extras_lacking(pod) == [], name


def test_workers_and_flow_runs_keep_to_it_too(flow_run_job: Json) -> None:
    for job in (job_template(), flow_run_job):
        pod = job["spec"]["template"]["spec"]
        assert offences(pod) == []
        assert extras_lacking(pod) == []


def extras_lacking(pod: Json) -> list[str]:
    """What this project asks for beyond the profile."""
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    return [
        *(["automountServiceAccountToken"] if "automountServiceAccountToken" not in pod else []),
        *(["serviceAccountName"] if "serviceAccountName" not in pod else []),
        *(
            f"{c['name']}: root is writable"
            for c in containers
            if not c["securityContext"].get("readOnlyRootFilesystem")
        ),
        *(f"{c['name']}: no memory limit" for c in containers if "memory" not in c["resources"]["limits"]),
        *(f"{v['name']}: emptyDir without a limit" for v in pod.get("volumes", ()) if v.get("emptyDir") == {}),
    ]


def test_the_profile_notices_what_it_forbids() -> None:
    pod = json.loads(json.dumps(job_template()["spec"]["template"]["spec"]))
    pod["hostNetwork"] = True
    pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    pod["containers"][0]["securityContext"] = {"privileged": True}
    del pod["securityContext"]["seccompProfile"]
    assert len(offences(pod)) == 6


def test_the_namespace_has_the_api_server_enforce_it() -> None:
    for overlay in OVERLAYS:
        labels = of_kind(rendered(overlay), "Namespace")["samaflow"]["metadata"]["labels"]
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


# -- rights


def test_rights_are_in_the_namespace_alone_and_name_what_they_are_for() -> None:
    for overlay in OVERLAYS:
        kinds = {item["kind"] for item in rendered(overlay)}
        assert not kinds & {"ClusterRole", "ClusterRoleBinding"}
        for role in of_kind(rendered(overlay), "Role").values():
            for rule in role["rules"]:
                assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])
                assert "secrets" not in rule["resources"]


def test_workers_have_no_token_and_their_account_no_rights(flow_run_job: Json) -> None:
    worker = job_template()["spec"]["template"]["spec"]
    assert worker["automountServiceAccountToken"] is False
    for overlay in OVERLAYS:
        bound = {
            subject["name"]
            for binding in of_kind(rendered(overlay), "RoleBinding").values()
            for subject in binding["subjects"]
        }
        assert worker["serviceAccountName"] not in bound
        assert flow_run_job["spec"]["template"]["spec"]["serviceAccountName"] in bound


# -- the network


def test_nothing_is_reached_but_by_name() -> None:
    for overlay in OVERLAYS:
        policies = of_kind(rendered(overlay), "NetworkPolicy")
        assert policies["default-deny"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        for policy in policies.values():
            for rule in (*policy["spec"].get("ingress", ()), *policy["spec"].get("egress", ())):
                assert rule["ports"]
                assert rule.get("to") or rule.get("from")


def test_a_flow_run_knows_the_image_that_it_runs_in(flow_run_job: Json) -> None:
    (container,) = flow_run_job["spec"]["template"]["spec"]["containers"]
    told = {line["name"]: line["value"] for line in container["env"]}
    assert (told["A"], told["SAMAFLOW_IMAGE_DIGEST"]) == ("b", container["image"])


def test_every_pod_is_known_to_the_policies(flow_run_job: Json) -> None:
    """A pod whose component no policy names reaches nothing; a component that no pod has is a slip of the pen."""
    for overlay in OVERLAYS:
        named = components_in(list(of_kind(rendered(overlay), "NetworkPolicy").values()))
        templates = [item["spec"]["template"] for item in rendered(overlay) if "template" in (item.get("spec") or {})]
        templates += [job["spec"]["template"] for job in (job_template(), flow_run_job, *rendered("k8s/weights"))]
        labelled = {template["metadata"]["labels"]["app.kubernetes.io/component"] for template in templates}
        assert labelled == named
        training = of_kind(rendered("k8s/training"), "Job")["samaflow-training"]["spec"]["template"]["metadata"][
            "labels"
        ]
        assert training["app.kubernetes.io/component"] not in named, "it reaches nothing"


def components_in(policies: list[Json]) -> set[str]:
    found: set[str] = set()
    for text in map(json.dumps, policies):
        for one, many in re.findall(r'app.kubernetes.io/component": "(\S+?)"|"values": \[(.*?)\]', text):
            found |= {one} if one else set(json.loads(f"[{many}]"))
    return found


def test_workers_reach_the_store_and_dns_alone() -> None:
    policies = of_kind(rendered("k8s/overlays/production"), "NetworkPolicy")
    reaching = {
        name
        for name, policy in policies.items()
        if "Egress" in policy["spec"]["policyTypes"]
        and (not policy["spec"]["podSelector"] or "worker" in components_in([policy["spec"]["podSelector"]]))
    }
    assert reaching == {"default-deny", "dns", "store"}


# -- complete


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_all_that_pods_name_is_there_or_for_the_operator_to_create(overlay: str, flow_run_job: Json) -> None:
    objects = (*rendered(overlay), *rendered("k8s/weights"), *rendered("k8s/training"), job_template())
    for name, pod in pod_specs((*objects, {**flow_run_job, "metadata": {"name": "flow-run"}})).items():
        claims = set(re.findall(r'"claimName": "(\S+?)"', json.dumps(pod)))
        assert claims <= of_kind(objects, "PersistentVolumeClaim").keys(), name
        assert pod["serviceAccountName"] in of_kind(objects, "ServiceAccount"), name
        assert names_of(pod, "configMapRef", "configMap") <= of_kind(objects, "ConfigMap").keys(), name
        assert names_of(pod, "secretRef", "secretKeyRef") <= OPERATORS_SECRETS, name


def names_of(value: Any, *kinds: str) -> set[str]:
    """Names of the objects that a pod refers to in fields of these kinds."""
    if isinstance(value, dict):
        own = {inner["name"] for key, inner in value.items() if key in kinds and "name" in inner}
        return own.union(*(names_of(inner, *kinds) for inner in value.values()))
    return set().union(*(names_of(inner, *kinds) for inner in value)) if isinstance(value, list) else set()


def test_a_training_is_as_many_processes_as_it_has_gpus_and_a_call_that_can_be_read() -> None:
    job = of_kind(rendered("k8s/training"), "Job")["samaflow-training"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    told = {line["name"]: line["value"] for line in container["env"]}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == told["GPUS"]
    program, *words = [re.sub(r"\$\((\w+)\)", lambda name: told[name[1]], word) for word in container["args"]]
    assert (program, words[:2]) == ("torchrun", ["--standalone", f"--nproc-per-node={told['GPUS']}"])
    assert words[2:4] == ["-m", training.__package__]
    given = training.parser().parse_args(words[4:])
    assert (given.curriculum, str(given.folder)) == (told["CURRICULUM"], f"/training/{told['CURRICULUM']}")


def test_no_placeholder_of_the_base_is_left() -> None:
    for overlay in OVERLAYS:
        images = {c["image"] for pod in pod_specs(rendered(overlay)).values() for c in pod["containers"]}
        assert "samaflow-flow" not in images
    assert "192.0.2." not in json.dumps(rendered("k8s/overlays/production"))


# -- pinned


def test_every_image_has_a_version() -> None:
    for place in PLACES:
        for pod in pod_specs(rendered(place)).values():
            for container in (*pod.get("initContainers", ()), *pod["containers"]):
                assert re.search(r":(?!latest)[\w.-]+(@sha256:[0-9a-f]{64})?$", container["image"])


@pytest.mark.parametrize("name", ["flow", "gpu"])
def test_images_are_pinned_and_end_as_nobody(name: str) -> None:
    file = ROOT / "k8s/images" / f"{name}.Dockerfile"
    lint = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "--no-color", file], capture_output=True, text=True, check=False
    )
    assert lint.stdout == ""
    lines = file.read_text(encoding="utf-8").splitlines()
    assert all(re.search(r":[\d.]+-\S+@sha256:[0-9a-f]{64}$", line) for line in lines if line.startswith("FROM "))
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    assert all("constraints.txt" in line or "--no-deps" in line for line in lines if "pip install" in line)
    copied = {path for line in lines if line.startswith("COPY ") for path in line.split()[1:-1]}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied <= {line[1:] for line in ignored if line.startswith("!")}


def test_the_flow_image_has_no_torch() -> None:
    installs = (ROOT / "k8s/images/flow.Dockerfile").read_text(encoding="utf-8")
    assert ".[kubernetes,postgresql]" in installs
    assert "model" not in installs.replace("sama_model", "")
