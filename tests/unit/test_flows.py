"""What flows promise before they run: no torch on the flow side, deployments that exist, a page that agrees."""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edits.plan import Estimate
from flows.doctor import Finding
from flows.status import EventLine, JobHistory, JobLine, JobList
from tasks.conclude import RowResult, Summary
from tasks.forecast import Forecast, RowForecast

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("module", ["flows.edit_manifest", "flows.edit_video", "flows.cli", "tasks.gpu"])
def test_the_flow_side_and_the_idle_worker_load_no_torch(module: str) -> None:
    check = f"import {module}, sys; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_the_worker_loads_neither_prefect_nor_a_database() -> None:
    check = "import tasks.gpu, sys; sys.exit(bool({'prefect', 'sqlalchemy', 'kubernetes'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_every_deployment_points_at_a_flow() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert {deployment["name"] for deployment in deployments} == {
        *("edit-manifest", "edit-video"),
        *("edit-manifest-kubernetes", "edit-video-kubernetes"),
    }
    for deployment in deployments:
        module, _, name = deployment["entrypoint"].rpartition(".")
        assert getattr(importlib.import_module(module), name).name == deployment["name"].removesuffix("-kubernetes")


@pytest.mark.parametrize(
    "record",
    [Summary, RowResult, Forecast, RowForecast, Estimate, JobList, JobLine, JobHistory, EventLine, Finding],
    ids=lambda record: record.__name__,
)
def test_the_json_page_names_every_field(record: type) -> None:
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    missing = [field.name for field in dataclasses.fields(record) if f"`{field.name}`" not in page]
    assert missing == []
