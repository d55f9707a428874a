"""What flows promise before they run: no torch on the flow side, deployments that exist, a page that agrees."""

from __future__ import annotations

import dataclasses
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import pytest
import yaml
from prefect import Flow
from prefect.utilities.callables import parameter_schema
from rich.table import Table
from typer.testing import CliRunner

from edits.catalogue import DETAILS, OWN_DETAIL
from edits.columns import REVIEWS
from edits.library import Order
from edits.media.deliverables import DELIVERABLES
from edits.plan import Estimate
from edits.settings import Settings
from flows import forms, notices
from flows.cli import app
from flows.doctor import Finding
from flows.edit_manifest import edit_manifest
from flows.edit_video import edit_video
from flows.reconcile import reconcile
from flows.restyle_library import restyle_library
from flows.results import Results
from flows.review_job import ReviewOutcome, review_job
from flows.settle_reviews import settle_reviews
from flows.status import EventLine, JobHistory, JobLine, JobList
from flows.train_sama import TrainingResult, train_sama
from flows.trained import PartLine, TrainingHistory, TrainingLine, TrainingList
from tasks.catalogue import build_catalogue
from tasks.conclude import RowResult, Summary
from tasks.forecast import Forecast, RowForecast
from tasks.library import FileResult, LibraryResult

FORMS = (edit_video, edit_manifest, restyle_library, review_job, settle_reviews, reconcile, train_sama)
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "module", ["flows.edit_manifest", "flows.edit_video", "flows.train_sama", "flows.cli", "tasks.gpu"]
)
def test_the_flow_side_and_the_idle_worker_load_no_torch(module: str) -> None:
    check = f"import {module}, sys; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_a_command_that_asks_loads_neither_prefect_nor_what_migrates() -> None:
    check = "import flows.cli, sys; sys.exit(bool({'prefect', 'alembic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_the_worker_loads_neither_prefect_nor_a_database() -> None:
    check = "import tasks.gpu, sys; sys.exit(bool({'prefect', 'sqlalchemy', 'kubernetes'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_every_deployment_points_at_a_flow() -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    assert {deployment["name"] for deployment in deployments} == {
        *("edit-manifest", "edit-video", "restyle-library", "review-job", "settle-reviews", "train-sama", "reconcile"),
        *("edit-manifest-kubernetes", "edit-video-kubernetes", "restyle-library-kubernetes"),
        *("review-job-kubernetes", "settle-reviews-kubernetes", "reconcile-kubernetes"),
    }
    for deployment in deployments:
        module, _, name = deployment["entrypoint"].rpartition(".")
        assert getattr(importlib.import_module(module), name).name == deployment["name"].removesuffix("-kubernetes")


@pytest.mark.parametrize(
    "record",
    [
        LibraryResult,
        FileResult,
        ReviewOutcome,
        Summary,
        RowResult,
        Forecast,
        RowForecast,
        Estimate,
        JobList,
        JobLine,
        JobHistory,
        EventLine,
        Finding,
        TrainingResult,
        TrainingList,
        TrainingLine,
        TrainingHistory,
        PartLine,
    ],
    ids=lambda record: record.__name__,
)
def test_the_json_page_names_every_field(record: type) -> None:
    page = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    missing = [field.name for field in dataclasses.fields(record) if f"`{field.name}`" not in page]
    assert missing == []


def test_the_enumerations_of_the_forms_are_those_of_the_catalogue() -> None:
    catalogue = build_catalogue(Settings())
    assert set(get_args(forms.EditorName)) == set(catalogue)
    assert set(get_args(forms.DeliverableName)) == set(DELIVERABLES)
    assert set(get_args(forms.DetailName)) == {OWN_DETAIL, *DETAILS}
    assert set(get_args(forms.ReviewName)) == set(REVIEWS)
    assert set(get_args(forms.OrderName)) == set(Order)


@pytest.mark.parametrize("flow", FORMS, ids=lambda flow: str(flow.name))
def test_every_field_of_a_form_has_a_title_and_a_description(flow: Flow[..., Any]) -> None:
    for name, facts in parameter_schema(flow).properties.items():
        assert facts["title"] != name, name
        assert facts["description"], name
        assert "anyOf" not in facts, name
        assert facts.get("default", "") is not None, f"{name}: the server would refuse the form as it stands"


def test_every_automation_is_one_that_prefect_reads() -> None:
    files = sorted(notices.FOLDER.glob("*.yaml"))
    made = [notices.made_of(path, uuid4()) for path in files]
    assert len({automation.name for automation in made}) == 4
    assert all(automation.trigger.describe_for_cli() for automation in made)


def test_a_call_that_cannot_be_answered_is_one_json_document_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["plan", "nowhere.csv", "--json"])
    error = json.loads(done.stdout)["error"]
    assert (done.exit_code, error["category"]) == (2, "manifest")
    assert error["message"].startswith("nowhere.csv: ")
    assert not CliRunner().invoke(app, ["plan", "nowhere.csv"]).stdout


def test_a_row_is_one_line_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("line", "reason", box=None, pad_edge=False)
    table.add_row("2", "word " * 200 + "end")
    table.add_row("3", "short")
    Results().print(table)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["line", "2", "3"]
    assert lines[1].endswith("word end")
    assert lines[2].endswith("short")
