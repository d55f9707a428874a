"""What failures add up to, what exit codes mean, and what foreign exceptions become."""

from __future__ import annotations

import signal

import pytest

from edits import errors
from edits.job import ChunkFailure
from sama_model.editors.base import InstructionError
from tasks.exits import Exit, exit_code, outcome_of, translated


def failure(category: str, transient: bool) -> ChunkFailure:
    return ChunkFailure("k", category, "m", transient)


PERMANENT, STORE = failure("instruction", False), failure("store", True)
MEMORY = failure("device_memory", True)


@pytest.mark.parametrize(
    ("failures", "code"),
    [
        ([], 0),
        ([PERMANENT], 64),
        ([PERMANENT, STORE], 75),
        ([STORE], 75),
        ([PERMANENT, STORE, MEMORY], 76),
    ],
)
def test_the_exit_code_says_the_most_hopeful_thing(failures: list[ChunkFailure], code: int) -> None:
    assert exit_code(failures) == code


@pytest.mark.parametrize(
    ("code", "category", "retry", "counts"),
    [
        (0, "done", False, True),
        (64, "failed", False, True),
        (75, "transient", True, True),
        (76, "device_memory", True, True),
        (143, "killed", True, False),
        (137, "killed", True, False),
        (-signal.SIGTERM, "killed", True, False),
        (-signal.SIGKILL, "killed", True, False),
        (-signal.SIGSEGV, "crashed", True, True),
        (1, "crashed", True, True),
        (2, "usage", False, True),
    ],
)
def test_every_exit_code_has_an_outcome(code: int, category: str, retry: bool, counts: bool) -> None:
    outcome = outcome_of(code)
    assert (outcome.category, outcome.retry, outcome.counts) == (category, retry, counts)
    assert outcome.summary


def test_the_workers_own_codes_all_mean_something() -> None:
    assert all(outcome_of(code).category != "crashed" for code in Exit)


OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {"__module__": "torch"})
AcceleratorError = type("AcceleratorError", (RuntimeError,), {"__module__": "torch"})
OtherOutOfMemory = type("OutOfMemoryError", (RuntimeError,), {"__module__": "somewhere"})
ModelWeightsError = type("WeightsError", (ValueError,), {"__module__": "sama_model.weights"})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InstructionError("knows: invert"), errors.InstructionError),
        (ModelWeightsError("blocks.0 is missing"), errors.WeightsError),
        (OutOfMemoryError("CUDA out of memory"), errors.DeviceMemoryError),
        (AcceleratorError("an illegal memory access"), errors.DeviceError),
        (RuntimeError("CUDA error: device-side assert triggered"), errors.DeviceError),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), errors.DeviceError),
        (OtherOutOfMemory("x"), errors.PermanentError),
        (MemoryError(), errors.WorkerError),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), errors.WorkerError),
        (OSError(28, "No space left on device"), errors.StoreError),
        (ValueError("T must be 4k+1"), errors.PermanentError),
        (ModuleNotFoundError("No module named 'torch'"), errors.PermanentError),
        (KeyError("x"), errors.PermanentError),
    ],
)
def test_a_foreign_error_becomes_one_of_the_tree(error: Exception, kind: type[errors.SamaflowError]) -> None:
    found = translated(error)
    assert type(found) is kind
    assert str(error) in str(found)


def test_an_error_of_the_tree_stays_itself() -> None:
    error = errors.StoreError("gone")
    assert translated(error) is error
