"""The journal: few points however long the run, nothing told twice that counts twice, one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sama_model.errors import WeightsError
from sama_model.training.data import Bad
from sama_model.training.journal import NAME, Begun, Finished, Journal, LeftOut, Line, Point, lines_from
from sama_model.training.loop import Progress


def progress(step: int, steps: int, value: float = 1.0, bad: tuple[Bad, ...] = ()) -> Progress:
    return Progress("vae", step, steps, (("total", value),), 2.0, bad)


def begin(journal: Journal) -> None:
    journal.begin("pico", "c" * 64, "d" * 64, [("vae", 4)])


def read(folder: Path) -> list[Line]:
    return lines_from(folder)[0]


def test_a_long_part_has_few_points_of_means_and_its_last_step(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        for step in range(1001):
            journal.tell(progress(step, 1001, value=float(step)))
    points = [line for line in read(tmp_path) if isinstance(line, Point)]
    assert [points[0].step, points[1].step, points[-1].step] == [6, 12, 1001]
    assert len(points) == 167
    assert points[1].values == (("total", 8.5), ("gradient", 2.0))


def test_a_step_without_an_example_is_in_no_mean(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.tell(Progress("vae", 0, 600, (), 0.0, (Bad(7, "gone"),)))
        for step in (1, 2):
            journal.tell(progress(step, 600, value=float(step)))
        for step in (3, 4, 5):
            journal.tell(Progress("vae", step, 600, (), 0.0, ()))
    bad, first, second = read(tmp_path)
    assert isinstance(bad, LeftOut)
    assert isinstance(first, Point)
    assert isinstance(second, Point)
    assert (bad.number, first.step, first.values) == (7, 3, (("total", 1.5), ("gradient", 2.0)))
    assert (second.step, second.values) == (6, ())


def test_a_run_keeps_its_id_and_says_what_came_of_it(tmp_path: Path) -> None:
    for _ in range(2):
        with Journal(tmp_path) as journal:
            begin(journal)
            journal.tell(progress(0, 1, bad=(Bad(7, "no such file"),)))
    with Journal(tmp_path) as journal:
        journal.finish(tmp_path / "weights", "pico", "e" * 64)
    lines = read(tmp_path)
    begun = [line for line in lines if isinstance(line, Begun)]
    assert len({line.run_id for line in begun}) == 1
    assert begun[0].parts == (("vae", 4),)
    assert [line for line in lines if isinstance(line, LeftOut)] == [LeftOut("vae", 0, 7, "no such file")] * 2
    assert lines[-1] == Finished(str(tmp_path / "weights"), "pico", "e" * 64)


def test_half_a_line_waits_and_is_cut_off_when_the_run_goes_on(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.tell(progress(0, 1))
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"part": "va')
    lines, offset = lines_from(tmp_path)
    assert len(lines) == 1
    assert lines_from(tmp_path, offset) == ([], offset)
    with Journal(tmp_path) as journal:
        journal.tell(progress(0, 1))
    assert lines_from(tmp_path, offset)[0] == lines


def test_what_is_no_number_is_told_as_none(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.tell(progress(0, 1, value=float("nan")))
    assert read(tmp_path) == [Point("vae", 1, 1, (("total", None), ("gradient", 2.0)))]


def test_two_processes_do_not_train_in_one_folder(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(WeightsError, match="another process trains here"):
        Journal(tmp_path).__enter__()


def test_a_line_that_is_none_is_an_error_that_says_where(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"kind": "begun"}\n')
    with pytest.raises(WeightsError, match=r"journal\.jsonl: a line behind byte 0 is none of a journal"):
        lines_from(tmp_path)


def test_whoever_reads_a_journal_loads_no_torch() -> None:
    check = "import sama_model.training.journal, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
