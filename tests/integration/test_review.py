"""A job that awaits its review: delivered, refused or changed by whoever decides, and nothing computed twice."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

import sql
from edits import storage, wire
from edits.errors import StateError
from edits.job import JobState
from edits.keys import sha256_of
from edits.media.records import QcReport
from tasks import decide
from tasks.decide import Opinion
from tasks.forecast import forecast
from tasks.intake import take_in
from tasks.retry import changed_manifest, continued
from tasks.review import PAGE, write_page
from tasks.run import Run, open_run
from tests.fakes.chain import edit_plainly, edit_rows
from tests.fakes.clips import write_clip
from tests.fakes.footage import constant, variable, write_footage, write_turned

ADA = Opinion("Ada", "looks right")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a clip of two shots, 100 and 20 frames: two chunks of the first, one of the second."""
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4", frames=120, cuts=(100,))
    return tmp_path


def row(**cells: object) -> dict[str, object]:
    return {"source": "clip.mp4", "instruction": "turn it sepia", "editor": "grade", **cells}


def files(here: Path) -> list[Path]:
    return [path for path in sorted((here / "deliverables").glob("*")) if not path.name.startswith(".")]


def markers(run: Run) -> dict[str, int]:
    chunks = run.store.local("chunks")
    assert chunks is not None
    return {path.parent.name: path.stat().st_mtime_ns for path in chunks.glob("*/result.json")}


def page_of(run: Run, job_id: str) -> str:
    return run.store.read(f"jobs/{job_id}/report/{PAGE}").decode()


def test_a_required_review_keeps_the_finished_file_back_until_it_is_approved(here: Path) -> None:
    with open_run([]) as run:
        (first,) = edit_rows(run, row(review="required", detail="full"), folder=here).rows
        assert (first.state, files(here)) == (JobState.AWAITING_REVIEW, [])
        shown = page_of(run, first.job_id)
        assert "This job waits for a decision" in shown
        assert "1 seam between chunks" in shown
        assert '"masked":true' in shown
    with open_run([]) as run:
        before = markers(run)
        (again,) = edit_rows(run, row(review="required", detail="full"), folder=here).rows
        assert (again.state, again.chunks_edited) == (JobState.AWAITING_REVIEW, 0)
        with decide.waiting_job(run, first.job_id) as job:
            assert decide.approve(run, job, ADA)
        assert [sha256_of(path) for path in files(here)] == [sql.output_of(run.db, first.job_id).sha256]  # type: ignore[union-attr]
        (decision,) = sql.approvals(run.db, first.job_id)
        assert (decision.decision, decision.reviewer, decision.reason) == ("approved", "Ada", "looks right")
        assert markers(run) == before
        assert run.store.list(f"jobs/{first.job_id}/deliverable.mp4") == []
        with pytest.raises(StateError, match="only a job that awaits"), decide.waiting_job(run, first.job_id):
            pass


def test_the_page_says_what_was_assumed_and_what_is_not_carried(here: Path) -> None:
    write_footage(here / "plain.mp4", variable(9, 512), Fraction(1, 12800), tags=(2, 2, 2, 0), timecode="10:00:00:00")
    with open_run([]) as run:
        (first,) = edit_rows(run, row(source="plain.mp4"), folder=here).rows
        shown = page_of(run, first.job_id)
    assert "the source does not state its matrix, primaries, transfer, range: assumed" in shown
    assert "start timecode 10:00:00:0: the frame rate varies" in shown


def test_every_deliverable_of_one_source_states_what_was_assumed_of_it(here: Path) -> None:
    write_footage(here / "plain.mp4", constant(9, 512), Fraction(1, 12800), tags=(2, 2, 2, 0))
    same = row(source="plain.mp4", editor="passthrough")
    outputs = ({"deliverable": "match", "output": "a.mp4"}, {"deliverable": "ffv1", "output": "b.mov"})
    with open_run([]) as run:
        summary = edit_rows(run, *({**same, **output} for output in outputs), folder=here)
        pages = [page_of(run, each.job_id) for each in summary.rows]
    pages.append(Path(summary.report).read_text(encoding="utf-8"))
    said = "the source does not state its matrix, primaries, transfer, range: assumed"
    assert [page.count(said) for page in pages] == [1, 1, 2]


def test_the_page_the_report_the_record_and_the_plan_name_the_same_conversions(here: Path) -> None:
    write_turned(here / "turned.mp4", -90, "yuv422p10le")
    wanted = row(source="turned.mp4", editor="passthrough", deliverable="h264")
    with open_run([]) as run:
        summary = edit_rows(run, wanted, folder=here)
        job_id = summary.rows[0].job_id
        kept = wire.load(QcReport, run.store.read(storage.qc_path(job_id)), "qc.json").conversions
        shown = (page_of(run, job_id), Path(summary.report).read_text(encoding="utf-8"))
    with open_run([]) as run:
        data = "\n".join([",".join(wanted), ",".join(map(str, wanted.values()))]).encode()
        (planned,) = forecast(run, take_in(run, data, "rows.csv", here), quick=False).rows
    turned, chroma, bits = kept
    assert turned == "turned 90 degrees clockwise and written upright"
    assert chroma == "chroma of 4:4:0 written as 4:2:0"
    assert bits.startswith("10 bits written as 8; choose h265_10bit or ")
    assert all(sentence in page for page in shown for sentence in kept)
    assert (planned.conversions, planned.warnings) == (kept, kept[-1:])


def test_a_preview_edits_the_beginning_of_each_shot_and_its_approval_only_the_rest(here: Path) -> None:
    with open_run([], preview="first_chunks") as run:
        (previewed,) = edit_rows(run, row(), folder=here).rows
        assert (previewed.state, previewed.chunks_edited) == (JobState.AWAITING_REVIEW, 2)
        before = markers(run)
    with open_run([]) as run, decide.waiting_job(run, previewed.job_id) as job:
        assert not decide.approve(run, job, ADA)
        (whole,) = edit_plainly(run, continued(run, job)).rows
        assert (whole.state, whole.job_id, whole.chunks_edited) == (JobState.DELIVERED, previewed.job_id, 1)
        assert before.items() <= markers(run).items()


def test_a_change_puts_another_job_in_the_place_and_a_rejection_none(here: Path) -> None:
    with open_run([]) as run:
        (first,) = edit_rows(run, row(review="required"), folder=here).rows
    with open_run([]) as run, decide.waiting_job(run, first.job_id) as job:
        changes = {"instruction": "turn it grayscale"}
        data = changed_manifest(run, job, changes)
        decide.change(run, job, ADA, changes)
        assert sql.job(run.db, job.job_id).state is JobState.CANCELLED
        (second,) = edit_plainly(run, take_in(run, data, "changed", here)).rows
        assert (second.state, second.job_id != first.job_id) == (JobState.AWAITING_REVIEW, True)
        (decision,) = sql.approvals(run.db, first.job_id)
        assert (decision.verdict, decision.reason) == ("changed", "looks right")
        assert (decision.changes, decision.successor_id) == ("instruction 'turn it grayscale'", second.job_id)
        write_page(run, first.job_id)
        for job_id, other in ((first.job_id, second.job_id), (second.job_id, first.job_id)):
            shown = page_of(run, job_id)
            assert f'href="../../{other}/report/index.html"' in shown
            assert "by <bdi>Ada</bdi>" in shown
            assert "Why: <bdi>looks right</bdi>" in shown
        assert "The job that follows" in page_of(run, first.job_id)
        assert "takes the place of" in page_of(run, second.job_id)
    with open_run([]) as run:
        with decide.waiting_job(run, second.job_id) as job:
            decide.reject(run, job, Opinion("Bo", "too dark"))
        last = sql.job_events(run.db, second.job_id)[-1]
        assert (last.after, last.reason) == (JobState.CANCELLED, "rejected by Bo: too dark")
        assert files(here) == []


def test_what_nobody_decides_in_time_is_decided_as_the_settings_say(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_run([]) as run:
        (first,) = edit_rows(run, row(review="required", end="f20"), folder=here).rows
        assert decide.settle_overdue(run) == ()
    monkeypatch.setenv("SAMAFLOW_REVIEW_TIMEOUT_HOURS", "0.0000001")
    monkeypatch.setenv("SAMAFLOW_REVIEW_TIMEOUT_ACTION", "approve")
    with open_run([]) as run:
        assert decide.settle_overdue(run) == ()
        assert sql.job(run.db, first.job_id).state is JobState.DELIVERED
        assert sql.approvals(run.db, first.job_id)[-1].reviewer == "time-out"


def test_a_version_that_awaits_its_review_is_not_given_to_another_edit(here: Path) -> None:
    (here / "deliverables").mkdir()

    def edited(run: Run, instruction: str) -> str:
        (line,) = edit_rows(
            run,
            row(instruction=instruction, output="deliverables/a_v###.mp4", end="f20", review="required"),
            folder=here,
        ).rows
        return sql.job(run.db, line.job_id).job.output.rpartition("/")[2]

    with open_run([]) as run:
        assert [edited(run, each) for each in ("sepia", "grayscale", "sepia")] == [
            "a_v001.mp4",
            "a_v002.mp4",
            "a_v001.mp4",
        ]
