"""What a flow makes of a training's journal: rows, counts and progress, the same however often it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sql
from edits.errors import BusyError, WeightsError, WorkerError
from sama_model.training.data import Bad
from sama_model.training.journal import NAME, Journal
from sama_model.training.loop import Progress
from tasks.run import Run, open_run
from tasks.training import Log, Recorder, TrainingOrder, _ended, train


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.chdir(tmp_path)
    with open_run([]) as opened:
        yield opened


def begin(journal: Journal, steps: int = 4) -> None:
    journal.begin("pico", "c" * 64, "d" * 64, [("vae", steps), ("stage_one", 4)])


def tell(journal: Journal, *steps: int, bad: tuple[Bad, ...] = ()) -> None:
    for step in steps:
        journal.tell(Progress("vae", step, 4, (("total", 1.0 + step),), 2.0, bad))


def test_rows_follow_the_journal_and_reading_it_again_changes_nothing(run: Run, tmp_path: Path) -> None:
    recorder = Recorder(run, tmp_path / "pico")
    with Journal(tmp_path / "pico") as journal:
        begin(journal)
        recorder.look()
        tell(journal, 0, bad=(Bad(7, "no such file"),))
        recorder.look()
        assert recorder.fraction() == 1 / 8
        begin(journal)  # killed, and gone on from the beginning
        tell(journal, 0, bad=(Bad(7, "no such file"),))
        tell(journal, 1)
        recorder.look()
    for again in (recorder, Recorder(run, tmp_path / "pico")):
        again.look()
        assert again.fraction() == 2 / 8
        (record,) = sql.training_runs(run.db)
        assert (record.curriculum, record.state, record.folder) == ("pico", "training", str(tmp_path / "pico"))
        vae, one = sql.training_parts(run.db, record.run_id)
        assert (vae.step, vae.steps, vae.left_out, one.step) == (2, 4, 1, 0)
        figures = sql.training_figures(run.db, record.run_id)
        assert [(each.step, each.value) for each in figures if each.name == "total"] == [(1, 1.0), (2, 2.0)]
        assert [each.number for each in sql.training_left_out(run.db, record.run_id)] == [7]


@pytest.mark.parametrize("interrupted", ["begin_training", "record_training"])
def test_what_an_interrupted_look_did_not_record_the_next_one_does(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    recorder = Recorder(run, tmp_path)
    with Journal(tmp_path) as journal:
        begin(journal)
        tell(journal, 0)
    with monkeypatch.context() as patch:
        patch.setattr(sql, interrupted, interrupt)
        with pytest.raises(KeyboardInterrupt):
            recorder.look()
    recorder.look()
    assert [part.step for part in sql.training_parts(run.db, recorder.run_id)] == [1, 0]


def test_a_journal_that_is_damaged_meanwhile_pauses_the_run_and_says_so(run: Run, tmp_path: Path) -> None:
    recorder = Recorder(run, tmp_path)
    with Journal(tmp_path) as journal:
        begin(journal)
        recorder.look()
    with (tmp_path / NAME).open("a") as file:
        file.write("{}\n")
    with pytest.raises(WeightsError, match="none of a journal"):
        train(run, TrainingOrder("nothing", tmp_path), recorder)
    (record,) = sql.training_runs(run.db)
    assert record.state == "paused"
    assert "none of a journal" in record.reason


def test_what_was_finished_is_not_when_it_goes_on_longer(run: Run, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        begin(journal)
        journal.finish(tmp_path / "weights" / "pico", "pico", "e" * 64)
    recorder = Recorder(run, tmp_path)
    recorder.look()
    assert recorder.finished is not None
    with Journal(tmp_path) as journal:
        begin(journal, steps=9)
    recorder.look()
    assert recorder.finished is None


def test_another_flows_run_is_left_to_it(run: Run, tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        begin(journal)
    Recorder(run, tmp_path).look()
    with open_run([]) as other, pytest.raises(BusyError, match="another flow trains in"):
        Recorder(other, tmp_path).look()


def test_a_damaged_journal_is_an_error_of_ours(run: Run, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("{}\n")
    with pytest.raises(WeightsError, match="none of a journal"):
        Recorder(run, tmp_path).look()


@pytest.mark.parametrize(
    ("code", "state", "error", "said"),
    [
        (75, "paused", None, "vae: stopped"),
        (2, "failed", WeightsError, "vae: stopped"),
        (-9, "failed", WorkerError, "ended by SIGKILL: vae: stopped"),
        (0, "failed", WorkerError, "exit code 0"),
    ],
)
def test_an_exit_code_is_a_state_and_says_why(
    run: Run, tmp_path: Path, code: int, state: str, error: type[Exception] | None, said: str
) -> None:
    with Journal(tmp_path) as journal:
        begin(journal)
    recorder = Recorder(run, tmp_path)
    recorder.look()
    (tmp_path / "log").touch()
    printed = Log(tmp_path / "log")
    (tmp_path / "log").write_text("loading\nvae: stopped\n")
    printed.say()
    if error is None:
        assert said in _ended(code, recorder, printed, cancelled=False).reason
    else:
        with pytest.raises(error, match=said):
            _ended(code, recorder, printed, cancelled=False)
    assert sql.training_runs(run.db)[0].state == state
