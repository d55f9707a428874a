"""How a finished file gets to its place: whole, once, and never over somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.publish import _appear


def test_a_file_appears_whole_and_its_part_is_gone(tmp_path: Path) -> None:
    part, target = tmp_path / ".result.part", tmp_path / "result.mp4"
    part.write_bytes(b"whole")
    _appear(part, target, overwrite=True)
    assert target.read_bytes() == b"whole"


def test_a_file_that_came_first_wins_the_race(tmp_path: Path) -> None:
    part, target = tmp_path / ".result.part", tmp_path / "result.mp4"
    part.write_bytes(b"ours")
    target.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        _appear(part, target, overwrite=False)
    assert target.read_bytes() == b"theirs"


def test_a_file_system_without_hard_links_still_refuses_to_overwrite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "hard links are not supported here")

    monkeypatch.setattr("os.link", no_links)
    part, target = tmp_path / ".result.part", tmp_path / "result.mp4"
    part.write_bytes(b"ours")
    target.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        _appear(part, target, overwrite=False)
    target.unlink()
    _appear(part, target, overwrite=False)
    assert target.read_bytes() == b"ours"
