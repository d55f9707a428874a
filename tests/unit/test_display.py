"""What a person sees of a run where there is no terminal: a line a change, and what is in the way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from edits.plan import Estimate, total
from flows.display import print_forecast, watching
from tasks.forecast import Forecast, RowForecast
from tasks.progress import Board
from tasks.run import LISTENERS, Run
from tests.fakes.command import wait_until


def test_what_is_in_the_way_of_a_row_and_of_the_run_is_said_until_it_is_gone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    board = Board()
    board.add(2, "clip.mp4")
    said = ""

    def seen(text: str) -> bool:
        nonlocal said
        said += capsys.readouterr().err
        return text in said

    with watching():
        LISTENERS.announce(cast("Run", SimpleNamespace(board=board)))
        board.stage(2, "edit", 4)
        board.say(2, "no node has a free GPU")
        wait_until(lambda: seen("line 2  clip.mp4  edit: no node has a free GPU"), "the trouble of a row")
        board.announce("Prefect's server is away")
        wait_until(lambda: seen("] Prefect's server is away"), "the trouble of the run")
        board.announce("")
        board.stage(2, "stitch")
    assert seen("line 2  clip.mp4  stitch\n")


def test_a_plan_warns_of_what_a_row_loses(capsys: pytest.CaptureFixture[str]) -> None:
    warned = "10 bits written as 8; choose ffv1 to keep them"
    nothing: Estimate = total(())
    row = RowForecast(4, "file:///a.mov", "grade", "", "j", "", "", 0, 9, 1, 1, nothing, warnings=(warned,))
    print_forecast(Forecast("m", "m.csv", True, (row,), nothing, 0.0, 0.0, ""))
    assert f"line 4: {warned}\n" in capsys.readouterr().out
