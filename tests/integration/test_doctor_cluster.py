"""`samaflow doctor --cluster` finds what would keep a run from working, before anything is dispatched."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from flows.cli import app
from sama_model.cards import TINY
from sama_model.installed import InstalledWeights, card_json
from tests.cluster.pods import CommandPods
from tests.fakes.cluster.clock import RealClock
from tests.fakes.cluster.cluster import FakeCluster

pytestmark = pytest.mark.kubernetes

GPU = "nvidia.com/gpu"
TEMPLATE = Path(__file__).parents[2] / "k8s" / "job_template.yaml"


@dataclass
class Setup:
    """A cluster, and the folder of one who asks about it."""

    cluster: FakeCluster
    folder: Path
    volume: Path
    """What pods see as their weights folder."""
    set: Callable[..., None]
    """Sets variables of the one who asks."""

    def ask(self, code: int, *options: str) -> dict[str, Any]:
        """What the doctor says of the cluster, by subject."""
        done = CliRunner().invoke(app, ["doctor", "--cluster", "--json", *options])
        assert done.exit_code == code, done.output
        return {finding["subject"]: finding for finding in json.loads(done.stdout)}

    def is_empty_again(self) -> bool:
        """A Job that was deleted goes when its pods have gone."""
        deadline = time.monotonic() + 10.0
        while self.cluster.jobs() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.cluster.jobs() == []


def install(folder: Path, digest: str) -> None:
    """A card of weights called `big`."""
    (folder / "big").mkdir(parents=True)
    card = replace(TINY, name="big", digest=digest)
    (folder / "big" / "card.json").write_bytes(card_json(InstalledWeights(card)))


def mounting(folder: Path, path: Path) -> Path:
    """The Job template with this machine's folder in its pods, at its own path."""
    body = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    (worker,) = body["spec"]["template"]["spec"]["containers"]
    worker["volumeMounts"].append({"name": "here", "mountPath": str(folder)})
    body["spec"]["template"]["spec"]["volumes"].append({"name": "here", "hostPath": {"path": str(folder)}})
    path.write_text(yaml.safe_dump(body), encoding="utf-8")
    return path


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    """A healthy cluster: GPU nodes, a quota, a bound volume with the weights that the flow side knows."""
    volume = tmp_path / "volume"
    install(volume, "ab" * 32)
    install(tmp_path / "weights", "ab" * 32)
    pods = CommandPods(tmp_path, {"SAMAFLOW_WEIGHTS_FOLDER": str(volume)})
    with closing(pods), FakeCluster(RealClock(), lambda clock: pods) as cluster:
        create = cluster.objects.create
        create(("nodes", ""), {"metadata": {"name": "a"}, "spec": {}, "status": {"allocatable": {GPU: "8"}}})
        hard = {f"requests.{GPU}": "8", "count/jobs.batch": "500", "pods": "200"}
        create(("resourcequotas", "samaflow"), {"metadata": {"name": "samaflow"}, "spec": {"hard": hard}})
        claim = {"metadata": {"name": "samaflow-weights"}, "status": {"phase": "Bound"}}
        create(("persistentvolumeclaims", "samaflow"), claim)

        def set_variables(**values: str) -> None:
            for name, value in values.items():
                monkeypatch.setenv(name, value)

        monkeypatch.chdir(tmp_path)
        cluster.server.kubeconfig(tmp_path)
        # The client read KUBECONFIG when it was imported.
        place = "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION"
        monkeypatch.setattr(place, str(tmp_path / "kubeconfig.yaml"))
        set_variables(
            SAMAFLOW_EXECUTOR="kubernetes",
            SAMAFLOW_STORE=str(tmp_path / "store"),
            SAMAFLOW_KUBERNETES_JOB_TEMPLATE=str(mounting(tmp_path, tmp_path / "template.yaml")),
            SAMAFLOW_WEIGHTS_FOLDER=str(tmp_path / "weights"),
        )
        yield Setup(cluster, tmp_path, volume, set_variables)


def test_a_healthy_cluster_has_nothing_broken_and_nothing_is_left_in_it(setup: Setup) -> None:
    found = setup.ask(0)
    assert {subject for subject, finding in found.items() if finding["level"] == "broken"} == set()
    assert found["GPU nodes"]["detail"] == "8 GPUs on 1 nodes"
    assert found["store from a pod"]["level"] == "fine"
    assert "big abab" in found["weights in the volume"]["detail"]
    assert setup.is_empty_again()
    assert list((setup.folder / "store" / "doctor").iterdir()) == []


def test_no_cluster_is_said_with_what_to_set(setup: Setup) -> None:
    for content in (None, "broken: [", "[]", "clusters: 3"):
        (setup.folder / "kubeconfig.yaml").unlink()
        if content is not None:
            (setup.folder / "kubeconfig.yaml").write_text(content)
        assert "KUBECONFIG" in setup.ask(1)["cluster"]["detail"], content
        (setup.folder / "kubeconfig.yaml").touch()


def test_a_cluster_that_does_not_answer_is_said(setup: Setup) -> None:
    setup.cluster.server.trouble = lambda address: 503
    found = setup.ask(1)["cluster"]
    assert "503" in found["detail"]
    assert "[kubernetes] context" in found["remedy"]


def test_an_old_kubernetes_is_refused_with_its_version(setup: Setup) -> None:
    setup.cluster.server.version = "v1.28.9"
    found = setup.ask(1)
    assert "1.28: samaflow needs 1.29 or newer" in found["cluster"]["detail"]
    assert found["probe"]["level"] == "warning"


def test_a_missing_right_is_named_by_verb_and_resource(setup: Setup) -> None:
    setup.cluster.server.forbidden = {("watch", "pods"), ("get", "pods/log")}
    found = setup.ask(1)["rights"]
    assert "may not watch pods" in found["detail"]
    assert "may not get pods/log" in found["detail"]
    assert "rolebinding" in found["remedy"]


def test_what_nobody_needs_for_a_run_may_be_hidden(setup: Setup) -> None:
    setup.cluster.server.forbidden = {("list", "nodes"), ("list", "resourcequotas")}
    found = setup.ask(0)
    assert found["GPU nodes"]["level"] == found["quota"]["level"] == "warning"


def test_no_gpu_nodes_is_said_and_the_rest_is_looked_at_all_the_same(setup: Setup) -> None:
    setup.cluster.objects.remove(("nodes", ""), "a")
    found = setup.ask(1)
    assert "device plugin" in found["GPU nodes"]["remedy"]
    assert found["store from a pod"]["level"] == "fine"


def test_a_quota_that_forbids_the_job_is_named(setup: Setup) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {f"requests.{GPU}": "0"}}}
    setup.cluster.objects.create(("resourcequotas", "samaflow"), quota)
    found = setup.ask(1)
    assert "quota none allows 0 of requests.nvidia.com/gpu" in found["quota"]["detail"]


def test_a_missing_weights_volume_is_said(setup: Setup) -> None:
    setup.cluster.objects.remove(("persistentvolumeclaims", "samaflow"), "samaflow-weights")
    assert "kubectl apply -k k8s/weights" in setup.ask(1)["weights volume"]["remedy"]


def test_weights_with_another_digest_are_found_in_the_volume(setup: Setup) -> None:
    (setup.volume / "big" / "card.json").unlink()
    (setup.volume / "big").rmdir()
    install(setup.volume, "cd" * 32)
    detail = setup.ask(1)["weights in the volume"]["detail"]
    assert detail == "big has digest cdcdcdcdcdcdcdcd, rows are planned for abababababababab"


def test_a_store_in_a_folder_that_pods_do_not_mount_is_said_before_any_pod_is_started(setup: Setup) -> None:
    setup.set(SAMAFLOW_KUBERNETES_JOB_TEMPLATE=str(TEMPLATE))
    found = setup.ask(1)
    assert "pods do not see this machine's folders. Set it to s3://" in found["pods' store"]["detail"]
    assert "first mend pods' store" in found["probe"]["detail"]
    assert setup.cluster.jobs() == []


def test_a_store_that_pods_cannot_reach_is_found_by_a_pod(setup: Setup) -> None:
    (setup.folder / "store").write_text("in the way of a folder")
    found = setup.ask(1)["store from a pod"]
    assert found["level"] == "broken"
    assert "network policy" in found["remedy"]
    assert setup.is_empty_again()


def test_a_probe_pod_that_cannot_start_is_explained(setup: Setup) -> None:
    setup.cluster.controller.image_fault = lambda pod: "ImagePullBackOff"
    found = setup.ask(1)["probe"]
    assert "its image cannot be pulled" in found["detail"]
    assert "[kubernetes] image" in found["remedy"]
    assert setup.is_empty_again()


def test_a_quota_on_pods_that_is_full_keeps_the_probe_and_is_quoted(setup: Setup) -> None:
    setup.cluster.controller.max_pods = 0
    assert "exceeded quota" in setup.ask(1)["probe"]["detail"]


def test_a_job_template_that_is_none_is_said(setup: Setup) -> None:
    (setup.folder / "template.yaml").write_text("kind: Pod\n")
    setup.set(SAMAFLOW_KUBERNETES_JOB_TEMPLATE=str(setup.folder / "template.yaml"))
    assert "completionMode Indexed" in setup.ask(1)["cluster"]["detail"]


def test_a_job_of_another_database_is_named_and_left_alone(setup: Setup) -> None:
    labels = {"app.kubernetes.io/name": "samaflow-worker", "samaflow/dispatch": "abcdef012345", "samaflow/round": "1"}
    notes = {"samaflow/store": (setup.folder / "store").as_uri(), "samaflow/indexes": "0"}
    metadata = {"name": "samaflow-abcdef012345-1", "labels": labels, "annotations": notes}
    pod = {"containers": [{"name": "worker", "command": ["sleep", "60"]}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"completions": 1, "parallelism": 1, "completionMode": "Indexed", "template": template}
    job = setup.cluster.objects.create(("jobs", "samaflow"), {"metadata": metadata, "spec": spec})
    job["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    found = setup.ask(0, "--fix")["left over: job"]
    assert (found["level"], "SAMAFLOW_DATABASE" in found["remedy"]) == ("warning", True)
    assert "samaflow-abcdef012345-1" in setup.cluster.job_names()
