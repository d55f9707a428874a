"""Lineage keeps up with the plan: what a plan says of a job's working form is what lineage tells of it."""

from __future__ import annotations

import csv
import dataclasses

import pytest

from edits import openlineage
from edits.job import ShotEdit, VideoPlan
from edits.lineage import WorkingForm
from tests.fakes.recorded import edit_job
from tests.unit.test_reproduce import made


def test_the_working_form_has_every_field_of_a_plan_beside_its_job_and_its_chunks() -> None:
    """The database keeps those fields as they are, and reading them back refuses a field that is not known."""
    planned = {field.name for field in dataclasses.fields(VideoPlan)} - {"job", "chunks"}
    assert {field.name for field in dataclasses.fields(WorkingForm)} == planned


@pytest.mark.parametrize(("disclose", "instructions"), [(True, ["make it sepia", "turn it blue"]), (False, ["", ""])])
def test_a_table_names_each_chunks_own_instruction_only_when_it_may(disclose: bool, instructions: list[str]) -> None:
    form = WorkingForm(160, 96, "squeeze", ((0, 12), (12, 24)), "1", "uint8")
    job = dataclasses.replace(edit_job(), shots=(ShotEdit(1, None, "turn it blue"),))
    lineage = dataclasses.replace(made(), plan=form, job=job)
    table = csv.DictReader(openlineage.to_csv([lineage], disclose))
    assert [line["instruction"] for line in table] == instructions
