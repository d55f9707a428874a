"""Curves are what the rows say: every point in its place, gaps where there was no number, text that stays text."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

import sql
from flows.cli import app
from sql import TrainingFigureRecord
from tasks.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, curves

SVG = "{http://www.w3.org/2000/svg}"


def figure(step: int, value: float | None, name: str = "total", part: str = "vae") -> TrainingFigureRecord:
    return TrainingFigureRecord(part, step, name, value)


def drawn(*figures: TrainingFigureRecord, order: tuple[str, ...] = ("vae", "stage_one")) -> ElementTree.Element:
    return ElementTree.fromstring(curves(figures, order))


def lines(picture: ElementTree.Element) -> list[list[tuple[float, float]]]:
    found = picture.iter(f"{SVG}polyline")
    return [[(float(x), float(y)) for x, y in (p.split(",") for p in line.attrib["points"].split())] for line in found]


def test_a_tenth_is_as_far_down_whatever_the_loss_began_with() -> None:
    (line,) = lines(drawn(figure(0, 1.0), figure(50, 0.1), figure(100, 0.01)))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    assert line == [(LEFT, TOP), ((LEFT + WIDTH - RIGHT) / 2, middle), (WIDTH - RIGHT, HEIGHT - BOTTOM)]


def test_what_is_no_number_is_a_gap() -> None:
    points = [figure(step, None if step == 3 else 1.0 + step) for step in range(1, 6)]
    assert [len(line) for line in lines(drawn(*points))] == [2, 2]
    assert lines(drawn(figure(1, None))) == []


def test_parts_are_rows_and_figures_panels_with_their_last_values() -> None:
    picture = drawn(
        figure(9, 0.25, part="stage_one"), figure(9, 3.0, "gradient"), figure(9, 0.5), figure(9, 0.125, "a<b")
    )
    said = [
        text.text for text in picture.iter(f"{SVG}text") if "class" in text.attrib and text.attrib["class"] != "tick"
    ]
    assert said == ["vae", "total 0.5", "a<b 0.125", "gradient 3", "stage_one", "total 0.25"]


def test_a_run_without_figures_is_an_empty_picture() -> None:
    assert lines(drawn()) == []


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in whose database a paused run is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".samaflow").mkdir()
    db = sql.open_database(f"sqlite:///{tmp_path}/.samaflow/samaflow.db")
    part = sql.TrainingPartRecord("vae", 100, 50, left_out=1)
    sql.begin_training(
        db, sql.TrainingRunRecord("ab12", "pico", "c" * 64, "d" * 64, "/runs/pico", "0.1"), [part], sql.this_process()
    )
    bad = sql.TrainingLeftOutRecord("vae", 3, 51, "row 51: no such file")
    sql.record_training(db, "ab12", [part], [figure(25, 0.5), figure(50, 0.25)], [bad])
    sql.end_training(db, "ab12", sql.TrainingState.PAUSED, "its time was over")
    db.close()
    return tmp_path


def test_a_person_sees_how_far_a_run_is_and_what_it_left_out(recorded: Path) -> None:
    done = CliRunner().invoke(app, ["training", "ab", "--curves", "curves.svg"])
    assert done.exit_code == 0, done.output
    assert [" ".join(line.split()) for line in done.output.splitlines()] == [
        "pico paused in /runs/pico, code 0.1",
        "its time was over",
        "part step of left out figures",
        "vae 50 100 1 total 0.25",
        "vae left out example 51: row 51: no such file",
    ]
    assert lines(ElementTree.parse(recorded / "curves.svg").getroot())[0][0][1] == TOP
    assert "paused" in CliRunner().invoke(app, ["training"]).output


def test_a_program_gets_the_same(recorded: Path) -> None:
    (run,) = json.loads(CliRunner().invoke(app, ["training", "--json"]).stdout)["runs"]
    history = json.loads(CliRunner().invoke(app, ["training", run["run_id"], "--json"]).stdout)
    assert history["run"] == run
    assert history["parts"] == [{"part": "vae", "step": 50, "steps": 100, "left_out": 1, "figures": {"total": 0.25}}]
    assert history["left_out"][0]["reason"] == "row 51: no such file"
    refused = CliRunner().invoke(app, ["training", "nothing", "--json"])
    assert (refused.exit_code, json.loads(refused.stdout)["error"]["category"]) == (2, "permanent")
