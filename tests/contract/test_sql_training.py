"""A training run is one row, goes on where it was, and belongs to one flow at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

import sql
from edits.errors import BusyError, PermanentError
from sql.training import NAMED
from tests.fakes.recorded import gone

RUN = sql.TrainingRunRecord("r1", "pico", "c" * 64, "d" * 64, "/runs/pico", "0.1.0+abc")
PARTS = (sql.TrainingPartRecord("vae", 100), sql.TrainingPartRecord("image_encoder", 50))


def begun(db: sql.Database) -> sql.Owner:
    owner = sql.this_process()
    sql.begin_training(db, RUN, PARTS, owner)
    return owner


def point(step: int, value: float | None, name: str = "total") -> sql.TrainingFigureRecord:
    return sql.TrainingFigureRecord("vae", step, name, value)


def test_a_run_is_found_with_its_parts_in_their_order(db: sql.Database) -> None:
    begun(db)
    (found,) = sql.training_runs(db)
    assert replace(found, begun_at=None) == replace(RUN, alive=True)
    assert found.begun_at is not None
    assert sql.training_parts(db, "r1") == PARTS
    assert sql.training_runs(db, "r") == (found,)
    assert sql.training_runs(db, "x") == sql.training_runs(db, "%") == ()


def test_points_told_again_take_the_former_ones_place(db: sql.Database) -> None:
    begun(db)
    far = sql.TrainingPartRecord("vae", 100, 20)
    sql.record_training(db, "r1", [far], [point(10, 0.5), point(20, 0.4), point(20, 0.1, "kl")])
    sql.record_training(db, "r1", [replace(far, step=30)], [point(20, 0.25), point(30, None)])
    assert sql.training_figures(db, "r1") == (point(20, 0.1, "kl"), point(10, 0.5), point(20, 0.25), point(30, None))
    assert sql.training_parts(db, "r1") == (replace(far, step=30), PARTS[1])


def test_of_examples_that_were_left_out_all_are_counted_and_the_first_thousand_named(db: sql.Database) -> None:
    begun(db)
    bad = [sql.TrainingLeftOutRecord("vae", 3, number, "no such file") for number in range(NAMED + 5)]
    far = sql.TrainingPartRecord("vae", 100, 4, left_out=len(bad))
    sql.record_training(db, "r1", [far], [], bad[:2])
    sql.record_training(db, "r1", [far], [], bad)
    assert sql.training_left_out(db, "r1") == tuple(bad[:NAMED])
    assert sql.training_parts(db, "r1")[0].left_out == NAMED + 5


def test_a_paused_run_goes_on_longer_and_keeps_what_it_has(db: sql.Database) -> None:
    owner = begun(db)
    sql.record_training(db, "r1", [sql.TrainingPartRecord("vae", 100, 100)], [point(100, 0.5)])
    sql.end_training(db, "r1", sql.TrainingState.PAUSED, "its time was over")
    (paused,) = sql.training_runs(db)
    assert (paused.state, paused.reason, paused.alive) == ("paused", "its time was over", False)
    assert paused.ended_at is not None
    longer = replace(RUN, curriculum_digest="e" * 64, code_version="0.2.0")
    sql.begin_training(db, longer, [replace(PARTS[0], steps=200), PARTS[1]], owner)
    (again,) = sql.training_runs(db)
    assert (again.state, again.reason, again.ended_at) == ("training", "", None)
    assert (again.curriculum_digest, again.code_version) == ("e" * 64, "0.2.0")
    assert sql.training_parts(db, "r1")[0] == sql.TrainingPartRecord("vae", 200, 100)
    assert sql.training_figures(db, "r1") == (point(100, 0.5),)


def test_what_was_built_is_named_and_stays_so(db: sql.Database) -> None:
    begun(db)
    sql.end_training(db, "r1", sql.TrainingState.BUILT, weights="pico", weights_digest="f" * 64)
    sql.end_training(db, "r1", sql.TrainingState.FAILED, "it could not be measured")
    (found,) = sql.training_runs(db)
    assert (found.weights, found.weights_digest, found.state) == ("pico", "f" * 64, "failed")
    with pytest.raises(PermanentError, match="there is no training run r2"):
        sql.end_training(db, "r2", sql.TrainingState.FAILED)


def test_one_flow_trains_and_a_dead_ones_run_is_free(db: sql.Database) -> None:
    owner = begun(db)
    with pytest.raises(BusyError, match="another flow trains in /runs/pico"):
        sql.begin_training(db, RUN, PARTS, sql.this_process())
    sql.begin_training(db, RUN, PARTS, owner)
    sql.end_training(db, "r1", sql.TrainingState.PAUSED)
    sql.begin_training(db, RUN, PARTS, gone(owner))
    (found,) = sql.training_runs(db)
    assert (found.state, found.alive) == ("training", False)
    sql.begin_training(db, RUN, PARTS, sql.this_process())
