"""TensorBoard's files: every step once, also when a run was killed and went on before the step that it was at."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from sama_model.errors import WeightsError
from sama_model.training.__main__ import event_files
from sama_model.training.data import Bad
from sama_model.training.events import EventFiles
from sama_model.training.loop import Progress


def events_of(file: Path) -> list[Event]:
    """What a file holds: records of length (8 bytes), its check (4), an event, its check (4)."""
    data, found = file.read_bytes(), list[Event]()
    while data:
        length = int.from_bytes(data[:8], "little")
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def told(folder: Path, part: str, steps: range, bad: tuple[Bad, ...] = ()) -> list[Event]:
    """The events of a process that takes these steps."""
    before = set(folder.glob("*/*"))
    files = EventFiles(folder)
    for step in steps:
        files.tell(Progress(part, step, 9, (("global colour", step / 4),), 2.0, bad))
    files.close()
    (file,) = set(folder.glob("*/*")) - before
    assert file.parent.name == part
    return events_of(file)


def test_where_nothing_writes_them_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, EventFiles.__module__)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(WeightsError, match=r"want tensorboardX: pip install 'samaflow\[train\]'"):
        event_files(tmp_path)


def test_every_step_has_its_figures(tmp_path: Path) -> None:
    events = told(tmp_path, "vae", range(3), (Bad(5, "no such file"),))
    values = [(value.tag, event.step, value.simple_value) for event in events for value in event.summary.value]
    assert values[:3] == [("global_colour", 0, 0.0), ("gradient", 0, 2.0), ("left_out", 0, 1.0)]
    assert [value for value in values if value[0] == "global_colour"][2] == ("global_colour", 2, 0.5)


def test_steps_behind_the_checkpoint_that_a_run_goes_on_from_are_forgotten(tmp_path: Path) -> None:
    told(tmp_path, "stage_one", range(6))
    (start,) = [event for event in told(tmp_path, "stage_one", range(4, 8)) if event.session_log.status]
    assert (start.session_log.status, start.step) == (SessionLog.START, 4)
