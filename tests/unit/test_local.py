"""What a local worker may see, and which device it gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.local import devices, worker_environ


def test_only_named_variables_pass() -> None:
    environ = {
        "PATH": "/bin",
        "AWS_PROFILE": "p",
        "SAMAFLOW_DATABASE_URL": "x",
        "PREFECT_API_KEY": "k",
        "HOME": "/root",
    }
    passed = worker_environ(environ, 1, None)
    assert passed.keys() == {"PATH", "AWS_PROFILE", "HOME", "OMP_NUM_THREADS"}


def test_every_worker_has_at_least_one_core() -> None:
    assert worker_environ({}, 10_000, None)["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    ("allowed", "names"), [("0,1", ("0", "1")), ("GPU-ab, 3", ("GPU-ab", "3")), ("", ()), ("7", ("7",))]
)
def test_the_devices_are_those_that_the_environment_allows(allowed: str, names: tuple[str, ...]) -> None:
    assert devices({"CUDA_VISIBLE_DEVICES": allowed}) == names


def test_without_a_word_all_devices_of_the_driver_count(tmp_path: Path) -> None:
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert devices({}, tmp_path) == ("0", "1")
    assert devices({}, tmp_path / "none") == ()
