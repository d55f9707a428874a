"""`samaflow edit --executor kubernetes` as a person runs it: real flow, real workers, S3, and the API server double."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.clips import write_clip
from tests.fakes.cluster.clock import RealClock
from tests.fakes.cluster.cluster import FakeCluster
from tests.fakes.cluster.pods import ProcessPods
from tests.fakes.command import Folder, wait_until
from tests.fakes.s3 import BUCKET, ENVIRON, s3_server

pytestmark = pytest.mark.kubernetes


class Cluster:
    """The folder of a person, with a cluster that its settings name."""

    def __init__(self, folder: Folder, cluster: FakeCluster, pods: ProcessPods) -> None:
        self.folder = folder
        self.cluster = cluster
        self.pods = pods


@pytest.fixture
def here(folder: Folder, tmp_path: Path) -> Iterator[Cluster]:
    with s3_server() as url:
        pods = ProcessPods(tmp_path / "pods", {**ENVIRON, "AWS_ENDPOINT_URL": url})
        with FakeCluster(RealClock(), lambda clock: pods) as cluster:
            folder.environ |= {
                **ENVIRON,
                "KUBECONFIG": str(cluster.server.kubeconfig(tmp_path)),
                "SAMAFLOW_STORE": f"s3://{BUCKET}/library",
                "SAMAFLOW_ENDPOINT_URL": url,
                "SAMAFLOW_KUBERNETES_PARALLELISM": "2",
            }
            yield Cluster(folder, cluster, pods)
        pods.close()


def manifest(folder: Folder) -> None:
    clip = write_clip(folder.path / "clip.mp4", frames=60, cuts=(30,))
    folder.manifest({"source": clip.name, "instruction": "turn it sepia", "editor": "grade"})


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
