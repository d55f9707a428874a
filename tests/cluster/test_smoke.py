"""What this project asks of Kubernetes, asked of a real one: run with `make test-cluster KUBECONFIG=...`.

The double answers the same questions in `make test`, so that the checks themselves are known to work. Every check says
which version of Kubernetes it needs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks.cluster_doctor import examine_cluster
from tasks.executor import RoundView
from tasks.kubernetes_job import job_name
from tests.cluster.conftest import Smoke, order
from tests.fakes.manifests import PLACES, Json, pod_specs, rendered

PLURALS = {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"}
STAYS = 'trap "exit 143" TERM; sleep 600 & wait'


def ended(view: RoundView) -> bool:
    return view.over


@pytest.mark.needs_kubernetes(1, 25)
@pytest.mark.parametrize("place", PLACES)
def test_the_server_takes_every_manifest(smoke: Smoke, place: str) -> None:
    """Without making it: schemas, admission rules and policies of this cluster."""
    for item in rendered(place):
        namespace = smoke.cluster.namespace
        plural = PLURALS.get(item["kind"], f"{item['kind'].lower()}s")
        if not smoke.knows(plural):
            continue
        group = f"/apis/{item['apiVersion']}" if "/" in item["apiVersion"] else "/api/v1"
        if item["kind"] == "Namespace":
            smoke.dry_run(f"{group}/{plural}", moved(item, namespace) | {"metadata": {"name": f"{namespace}-dry"}})
        else:
            smoke.dry_run(f"{group}/namespaces/{namespace}/{plural}", moved(item, namespace))


def moved(item: Json, namespace: str) -> Json:
    """The object in another namespace."""
    text = json.dumps(item).replace('"namespace": "samaflow"', f'"namespace": "{namespace}"')
    body: Json = json.loads(text)
    return body


@pytest.mark.needs_kubernetes(1, 25)
@pytest.mark.parametrize("place", PLACES)
def test_the_namespace_s_restricted_profile_admits_every_pod(smoke: Smoke, place: str) -> None:
    for name, pod in pod_specs(rendered(place)).items():
        metadata = {"name": name.lower().replace("/", "-"), "namespace": smoke.cluster.namespace}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}
        smoke.dry_run(f"/api/v1/namespaces/{smoke.cluster.namespace}/pods", body)


@pytest.mark.needs_kubernetes(1, 29)
def test_the_doctor_finds_its_rights_and_a_job_that_the_server_takes(smoke: Smoke, tmp_path: Path) -> None:
    found = {item.subject: item for item in examine_cluster(smoke.cluster, smoke.settings)}
    assert found["cluster"].level == "fine"
    assert found["rights"].level == "fine"
    assert found["Job"].level == "fine"
    assert found["weights volume"].level == "broken"  # the namespace is new


@pytest.mark.needs_kubernetes(1, 29)
def test_two_shards_are_done(smoke: Smoke, tmp_path: Path) -> None:
    with smoke.executor("exit 0", tmp_path) as executor:
        view = smoke.wait(executor.begin(order((0, 5))).poll, ended)
    assert [(worker.index, worker.exit_code) for worker in view.workers] == [(0, 0), (5, 0)]


@pytest.mark.needs_kubernetes(1, 29)
def test_a_restarted_flow_adopts_the_job_and_no_pod_runs_twice(smoke: Smoke, tmp_path: Path) -> None:
    asked = order()
    with smoke.executor("sleep 3", tmp_path) as executor:
        smoke.wait(executor.begin(asked).poll, lambda view: len(view.workers) == 2)
    before = uid_of(smoke, asked.dispatch_id)
    with smoke.executor("exit 1", tmp_path) as executor:
        adopted = executor.resume(asked)
        assert adopted is not None
        view = smoke.wait(adopted.poll, ended)
    assert [(worker.index, worker.exit_code) for worker in view.workers] == [(0, 0), (1, 0)]
    assert uid_of(smoke, asked.dispatch_id) == before


@pytest.mark.needs_kubernetes(1, 29)
def test_a_second_job_of_that_name_is_the_first(smoke: Smoke, tmp_path: Path) -> None:
    asked = order()
    with smoke.executor("sleep 2", tmp_path) as executor:
        smoke.wait(executor.begin(asked).poll, lambda view: len(view.workers) == 2)
        before = uid_of(smoke, asked.dispatch_id)
        assert len(smoke.wait(executor.begin(asked).poll, ended).workers) == 2
    assert uid_of(smoke, asked.dispatch_id) == before


def uid_of(smoke: Smoke, dispatch_id: str) -> str:
    job: Any = smoke.cluster.job(job_name(dispatch_id, 1))
    return str(job["metadata"]["uid"])


@pytest.mark.needs_kubernetes(1, 29)
def test_a_cancelled_job_leaves_no_pod(smoke: Smoke, tmp_path: Path) -> None:
    asked = order()
    with smoke.executor(STAYS, tmp_path) as executor:
        made = executor.begin(asked)
        smoke.wait(made.poll, lambda view: sum(worker.started_at is not None for worker in view.workers) == 2)
        made.stop()
        smoke.wait(made.poll, ended)
    name = job_name(asked.dispatch_id, 1)
    assert smoke.cluster.job(name) is None
    assert smoke.cluster.pods(f"batch.kubernetes.io/job-name={name}").items == ()


@pytest.mark.needs_kubernetes(1, 29)
def test_a_shard_that_failed_for_good_is_not_repeated_and_a_transient_one_is(smoke: Smoke, tmp_path: Path) -> None:
    script = 'if [ "$JOB_COMPLETION_INDEX" = 0 ]; then exit 64; elif [ "${FAILURES:-0}" = 0 ]; then exit 75; fi'
    with smoke.executor(script, tmp_path) as executor:
        view = smoke.wait(executor.begin(order()).poll, ended)
    assert sorted((worker.index, worker.exit_code) for worker in view.workers) == [(0, 64), (1, 0), (1, 75)]


@pytest.mark.needs_kubernetes(1, 29)
def test_a_worker_that_was_asked_to_stop_is_replaced(smoke: Smoke, tmp_path: Path) -> None:
    with smoke.executor("exit 143", tmp_path) as executor:
        made = executor.begin(order((0,)))
        view = smoke.wait(made.poll, lambda view: len(view.workers) > 1 and 143 in codes(view))
        made.stop()
        smoke.wait(made.poll, ended)
    assert codes(view) <= {143, None}


def codes(view: RoundView) -> set[int | None]:
    return {worker.exit_code for worker in view.workers}
