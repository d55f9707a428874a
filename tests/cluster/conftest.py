"""A namespace to try things in: of the double always, of a real cluster when one is given (`make test-cluster`)."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient, Configuration, CoreV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.config import load_kube_config

from edits.settings import Settings, load_settings
from tasks.executor import RoundOrder, RoundView
from tasks.kubernetes import KubernetesExecutor
from tasks.kubernetes_api import Cluster
from tasks.kubernetes_job import load_template
from tests.cluster.pods import CommandPods
from tests.fakes.cluster.clock import RealClock
from tests.fakes.cluster.cluster import FakeCluster
from tests.fakes.manifests import ROOT, Json

IMAGE = os.environ.get("TEST_IMAGE", "busybox:1.37")
ACCOUNTS = ("samaflow-worker", "samaflow-flow", "samaflow-services", "samaflow-prefect-worker")
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass(frozen=True)
class Smoke:
    """One namespace of one cluster, and what a check does there."""

    client: ApiClient
    cluster: Cluster
    settings: Settings
    patience: float
    """Seconds for a Job of nothing: on a real cluster an image is pulled first."""
    knows: Callable[[str], bool]
    """Whether the server has a resource, by plural; a real one has all of ours."""

    @contextmanager
    def executor(self, script: str, folder: Path) -> Iterator[KubernetesExecutor]:
        """One whose workers run a line of shell instead of `samaflow-worker`."""
        path = folder / "job_template.yaml"
        path.write_text(yaml.safe_dump(shell_template(script)), encoding="utf-8")
        overrides = {"kubernetes_job_template": str(path), "store": self.settings.store}
        settings = load_settings(folder, {}, {**_settings(self.cluster.namespace), **overrides})
        own = Cluster(ApiClient(self.client.configuration), self.cluster.namespace)
        executor = KubernetesExecutor(own, load_template(settings))
        try:
            yield executor
        finally:
            executor.close()

    def wait(self, view: Callable[[], RoundView], done: Callable[[RoundView], bool]) -> RoundView:
        deadline = time.monotonic() + self.patience
        while not done(found := view()):
            assert time.monotonic() < deadline, f"after {self.patience:.0f} s: {found}"
            time.sleep(0.1)
        return found

    def dry_run(self, path: str, body: Json) -> int:
        """Have the server check an object without making it; the status code."""
        request = self.client.param_serialize(
            method="POST", resource_path=path, query_params=[("dryRun", "All"), ("fieldValidation", "Strict")],
            header_params={"Accept": "application/json", "Content-Type": "application/json"}, body=body,
            auth_settings=["BearerToken"],
        )  # fmt: skip
        answer = self.client.call_api(*request, _request_timeout=30).response
        text = answer.read()
        assert answer.status < 300 or answer.status == 409, f"{body['kind']}: {text!r}"  # 409: it is there already
        return int(answer.status)


def order(indexes: tuple[int, ...] = (0, 1)) -> RoundOrder:
    return RoundOrder(uuid.uuid4().hex[:12], "d" * 64, 1, indexes, 2)


def shell_template(script: str) -> Json:
    """The project's own Job template, with a shell for a worker and no weights."""
    body: Json = yaml.safe_load((ROOT / "k8s/job_template.yaml").read_text(encoding="utf-8"))
    pod = body["spec"]["template"]["spec"]
    pod["volumes"] = [volume for volume in pod["volumes"] if "persistentVolumeClaim" not in volume]
    container = pod["containers"][0]
    container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount["name"] != "weights"]
    container["command"] = ["sh", "-c", script]
    container["resources"]["requests"]["cpu"] = "10m"
    failures = "metadata.annotations['batch.kubernetes.io/job-index-failure-count']"
    container["env"].append({"name": "FAILURES", "valueFrom": {"fieldRef": {"fieldPath": failures}}})
    return body


@pytest.fixture(scope="module", params=["double", "real"])
def smoke(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Smoke]:
    kubeconfig = os.environ.get("TEST_KUBECONFIG", "")
    if request.param == "real" and not kubeconfig:
        pytest.skip("no cluster is given: make test-cluster KUBECONFIG=/path/to/kubeconfig")
    if kubeconfig and not Path(kubeconfig).is_file():
        pytest.fail(f"KUBECONFIG={kubeconfig}: no such file")
    folder = tmp_path_factory.mktemp("smoke")
    with _real(kubeconfig) if request.param == "real" else _double(folder) as (client, patience, knows):
        namespace = f"samaflow-test-{uuid.uuid4().hex[:8]}"
        with _namespace(CoreV1Api(client), namespace, wait=patience if request.param == "real" else 0):
            settings = load_settings(folder, {}, _settings(namespace))
            yield Smoke(client, Cluster(client, namespace), settings, patience, knows)


@pytest.fixture(autouse=True)
def _old_enough(request: pytest.FixtureRequest) -> None:
    """Skips what the server is too old for."""
    marker = request.node.get_closest_marker("needs_kubernetes")
    assert marker is not None, "each check says which version of Kubernetes it needs"
    found = request.getfixturevalue("smoke").cluster.version()
    if found < marker.args:
        pytest.skip(f"needs Kubernetes {'.'.join(map(str, marker.args))}, the cluster has {found[0]}.{found[1]}")


def _settings(namespace: str) -> dict[str, Any]:
    return {
        "executor": "kubernetes",
        "store": "s3://samaflow-test/store",
        "kubernetes_namespace": namespace,
        "kubernetes_image": IMAGE,
        "kubernetes_gpus": 0,
        "kubernetes_memory_gib": 0.0625,
        "kubernetes_parallelism": 2,
    }


@contextmanager
def _double(folder: Path) -> Iterator[tuple[ApiClient, float, Callable[[str], bool]]]:
    from tests.fakes.cluster.server import KINDS

    with closing(CommandPods(folder)) as pods, FakeCluster(RealClock(), lambda clock: pods) as fake:
        fake.controller.backoff_seconds = 0.2
        configuration = Configuration(host=fake.server.url)
        configuration.retries = False
        yield ApiClient(configuration), 30.0, KINDS.__contains__


@contextmanager
def _real(kubeconfig: str) -> Iterator[tuple[ApiClient, float, Callable[[str], bool]]]:
    configuration = Configuration()
    load_kube_config(kubeconfig, client_configuration=configuration)
    configuration.retries = False
    yield ApiClient(configuration), 180.0, lambda plural: True


@contextmanager
def _namespace(core: CoreV1Api, name: str, wait: float) -> Iterator[None]:
    """One with the restricted profile and the accounts that pods name; it is gone afterwards, with all in it."""
    core.create_namespace({"metadata": {"name": name, "labels": RESTRICTED}})
    try:
        for account in ACCOUNTS:
            core.create_namespaced_service_account(name, {"metadata": {"name": account}})
        yield
    finally:
        core.delete_namespace(name)
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline and _is_there(core, name):
            time.sleep(1.0)


def _is_there(core: CoreV1Api, name: str) -> bool:
    try:
        core.read_namespace(name)
    except ApiException as error:
        if error.status == 404:
            return False
        raise
    return True
