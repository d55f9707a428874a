"""Lineage keeps up with the plan: what a plan says of a job's working form is what lineage tells of it."""

from __future__ import annotations

import dataclasses

from edits.job import VideoPlan
from edits.lineage import WorkingForm


def test_the_working_form_has_every_field_of_a_plan_beside_its_job_and_its_chunks() -> None:
    """The database keeps those fields as they are, and reading them back refuses a field that is not known."""
    planned = {field.name for field in dataclasses.fields(VideoPlan)} - {"job", "chunks"}
    assert {field.name for field in dataclasses.fields(WorkingForm)} == planned
