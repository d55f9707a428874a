"""`samaflow edit --executor kubernetes` as a person runs it: real flow, real workers, S3, and the API server double."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fakes.clips import write_clip
from tests.fakes.cluster.clock import RealClock
from tests.fakes.cluster.cluster import FakeCluster
from tests.fakes.cluster.pods import ProcessPods
from tests.fakes.command import Folder, wait_until
from tests.fakes.prefect_server import PrefectServer, free_port, start
from tests.fakes.rclone import rclone_server
from tests.fakes.s3 import BUCKET, ENVIRON, s3_server

pytestmark = pytest.mark.kubernetes

AWAY_SECONDS = float(os.environ.get("PREFECT_AWAY_SECONDS", "3"))
"""For which Prefect's server stays away after everything is done; `make test-faults` takes five minutes."""


class Cluster:
    """The folder of a person, with a cluster that its settings name."""

    def __init__(self, folder: Folder, cluster: FakeCluster, pods: ProcessPods) -> None:
        self.folder = folder
        self.cluster = cluster
        self.pods = pods


@pytest.fixture
def here(folder: Folder, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """On moto's S3, or as a test's parameter says."""
    rclone = getattr(request, "param", "moto") == "rclone"
    with rclone_server(tmp_path / "s3") if rclone else s3_server() as url:
        pods = ProcessPods(tmp_path / "pods", {**ENVIRON, "AWS_ENDPOINT_URL": url})
        with FakeCluster(RealClock(), lambda clock: pods) as cluster:
            folder.environ |= {
                **ENVIRON,
                "KUBECONFIG": str(cluster.server.kubeconfig(tmp_path)),
                "SAMAFLOW_STORE": f"s3://{BUCKET}/{tmp_path.name}",
                "SAMAFLOW_ENDPOINT_URL": url,
                "SAMAFLOW_KUBERNETES_PARALLELISM": "2",
            }
            yield Cluster(folder, cluster, pods)
        pods.close()


def manifest(folder: Folder) -> None:
    clip = write_clip(folder.path / "clip.mp4", frames=60, cuts=(30,))
    folder.manifest({"source": clip.name, "instruction": "turn it sepia", "editor": "grade"})


@pytest.mark.parametrize("here", ["moto", "rclone"], indirect=True)
def test_a_flow_that_is_told_to_stop_leaves_its_job_and_the_next_one_adopts_it(here: Cluster) -> None:
    manifest(here.folder)
    here.cluster.controller.start_seconds = 4.0
    flow = here.folder.start("edit", "manifest.csv", "--executor", "kubernetes")
    wait_until(lambda: bool(here.cluster.job_names()), "the Job")
    flow.send_signal(signal.SIGTERM)
    flow.communicate(timeout=60)
    (name,) = here.cluster.job_names()
    summary = here.folder.edit("--executor", "kubernetes")
    assert [row["state"] for row in summary["rows"]] == ["delivered"]
    assert here.cluster.job_names() == [name]
    assert len(here.pods.started) == len({pod.rpartition("-")[0] for pod in here.pods.started}) == 2
    assert len(here.folder.deliverables()) == 1


@pytest.fixture
def server(here: Cluster, tmp_path: Path) -> Iterator[PrefectServer]:
    """A Prefect server that only this person's runs use."""
    home = tmp_path / "prefect"
    home.mkdir()
    server = start(home, free_port())
    here.folder.environ["PREFECT_API_URL"] = server.url
    yield server
    with suppress(ProcessLookupError):
        server.kill()


def test_pods_go_on_while_prefects_server_is_away_and_the_flow_tells_it_of_its_end(
    here: Cluster, server: PrefectServer, tmp_path: Path
) -> None:
    manifest(here.folder)
    here.cluster.controller.start_seconds = 4.0
    flow = here.folder.start("edit", "manifest.csv", "--executor", "kubernetes", "--json")
    wait_until(lambda: bool(here.cluster.job_names()), "the Job")
    server.kill()
    wait_until(lambda: len(here.folder.deliverables()) == 1, "the deliverable", 240)
    time.sleep(AWAY_SECONDS)
    assert flow.poll() is None
    back = start(tmp_path / "prefect", urlsplit(server.url).port)
    try:
        out, err = flow.communicate(timeout=240)
        assert flow.returncode == 0, err
        assert [row["state"] for row in json.loads(out)["rows"]] == ["delivered"]
        assert "Prefect's server does not answer" in err
        assert states_of_runs(back) == ["COMPLETED"]
    finally:
        back.kill()


def states_of_runs(server: PrefectServer) -> list[str]:
    """Of all flow runs that a server knows."""
    asked = urllib.request.Request(f"{server.url}/flow_runs/filter", b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return [run["state_type"] for run in json.load(answer)]


def test_a_run_whose_prefect_server_never_comes_back_ends_with_one_sentence(
    here: Cluster, server: PrefectServer
) -> None:
    manifest(here.folder)
    here.folder.environ["PREFECT_CLIENT_MAX_RETRIES"] = "0"
    here.cluster.controller.start_seconds = 4.0
    flow = here.folder.start("edit", "manifest.csv", "--executor", "kubernetes")
    wait_until(lambda: bool(here.cluster.job_names()), "the Job")
    server.kill()
    wait_until(lambda: len(here.folder.deliverables()) == 1, "the deliverable", 240)
    time.sleep(3)
    flow.send_signal(signal.SIGINT)
    _, err = flow.communicate(timeout=60)
    assert (flow.returncode, f"Prefect's server at {server.url} is away" in err, "Traceback" in err) == (
        2,
        True,
        False,
    ), err


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("KUBECONFIG", "/nowhere", "no cluster to talk to"),
        ("SAMAFLOW_STORE", ".samaflow/store", "pods do not see this machine's folders"),
        ("SAMAFLOW_KUBERNETES_JOB_TEMPLATE", "manifest.csv", "not a Job"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_done(folder: Folder, setting: str, value: str, said: str) -> None:
    manifest(folder)
    folder.environ |= {**ENVIRON, "SAMAFLOW_STORE": f"s3://{BUCKET}/library", setting: value}
    refused = folder.run("edit", "manifest.csv", "--executor", "kubernetes")
    assert (refused.returncode, said in refused.stderr) == (2, True), refused.stderr
    if setting.startswith("SAMAFLOW"):
        assert "starting Prefect's server" not in refused.stderr
