"""What a person in the UI reads when a form's value cannot be used: the field, the value, and what to do there."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.utilities.callables import parameter_schema

from flows.edit_video import edit_video
from flows.form_errors import FormError, naming_fields
from flows.restyle_library import restyle_library
from flows.review_job import review_job
from tasks.conclude import SomeJobsFailedError
from tasks.library import Library, take_on
from tasks.run import open_run
from tests.fakes.chain import edit_rows
from tests.fakes.clips import write_clip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def said(**fields: object) -> str:
    """What `edit-video` fails with."""
    with pytest.raises(SomeJobsFailedError) as failed:
        edit_video.fn(**{"source": "clip.mp4", "instruction": "turn it sepia", "editor": "grade", **fields})
    return str(failed.value)


def test_a_wrong_field_is_named_by_its_title_and_no_line_of_a_manifest() -> None:
    message = said(source="/elsewhere/clip.mp4")
    assert message.startswith("field 'Video' (source), value '/elsewhere/clip.mp4': ")
    assert "in a form Allowed folders" in message
    assert "line " not in message


def test_every_wrong_field_is_named() -> None:
    message = said(start="soon", guidance=4.0)
    assert message.startswith("field 'Start' (start), value 'soon': ")
    assert "; field 'Strength' (guidance), value '4.0': " in message


def test_an_output_that_is_the_video_itself_speaks_of_no_line(here: Path) -> None:
    write_clip(here / "clip.mp4", frames=2)
    message = said(output="clip.mp4")
    assert message.startswith("field 'Output' (output), value 'clip.mp4': this edit reads this file")


def test_a_style_that_cannot_be_is_said_of_the_form_of_a_library(here: Path) -> None:
    (here / "rushes").mkdir()
    wanted = Library("rushes", "results", {"instruction": "shine", "editor": "grade"}, ("*.mp4",))
    with (
        pytest.raises(FormError, match=r"^field 'Instruction' \(instruction\), value 'shine': "),
        naming_fields(restyle_library),
        open_run([]) as run,
    ):
        take_on(run, wanted)


def test_a_decision_is_somebodys_and_a_rejection_has_a_reason() -> None:
    assert {"job", "reviewer"} == set(parameter_schema(review_job).required)
    with pytest.raises(FormError, match="field 'Your name'"):
        review_job.fn("3f9a", " ")
    with pytest.raises(FormError, match="field 'Reason'"):
        review_job.fn("3f9a", "Ada", "reject")


def test_a_row_of_a_manifest_is_named_by_its_line_once(here: Path) -> None:

    with open_run([]) as run, pytest.raises(SomeJobsFailedError) as failed:
        edit_rows(run, {"source": "clip.mp4", "instruction": "shine", "editor": "grade"}, folder=here)
    assert str(failed.value).startswith("1 of 1 rows were not delivered; line 2: column 'instruction', value 'shine': ")
