"""The worker's exit codes from both sides: what a failure in the worker becomes, and what follows from a code outside.

Pure functions; no store, no process.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from edits import errors
from edits.job import ChunkFailure
from sama_model.editors.base import InstructionError


class Exit(IntEnum):
    """What a worker says with its exit code."""

    DONE = 0
    FAILED = 64
    TRANSIENT = 75
    DEVICE_MEMORY = 76
    STOPPED = 143


@dataclass(frozen=True)
class Outcome:
    """What a worker's end means for its shard."""

    category: str
    """`done`, `failed`, `transient`, `device_memory`, `killed`, `crashed`, `usage`; of a pod also the words of
    `tasks.kubernetes_pods`."""
    retry: bool
    """Whether another worker may get further."""
    counts: bool
    """Whether it is an attempt that is used up: being stopped or killed is not."""
    summary: str
    remedy: str = ""
    """What a person can do about it; empty when nothing is to be done or the summary says it."""


_OUTCOMES = {
    0: Outcome("done", False, True, "every chunk of the shard is edited"),
    2: Outcome("usage", False, True, "the worker was called in a way that it does not know"),
    64: Outcome("failed", False, True, "some chunks cannot be edited; the worker's status says why"),
    75: Outcome("transient", True, True, "the store or the device failed; worth another try"),
    76: Outcome(
        "device_memory", True, True, "the device's memory did not suffice; use a larger device or a smaller size"
    ),
    137: Outcome("killed", True, False, "killed: by a person, by the node, or by the kernel for want of host memory"),
    143: Outcome("killed", True, False, "asked to stop"),
}


def outcome_of(exit_code: int) -> Outcome:
    """What the exit code of a worker process means; a negative one is the signal that ended it (as in subprocess).

    Whether 137 was a lack of host memory only a pod's status knows, so it is not said here.
    """
    if exit_code in (-signal.SIGKILL, -signal.SIGTERM):
        exit_code = 128 - exit_code
    if exit_code in _OUTCOMES:
        return _OUTCOMES[exit_code]
    how = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    return Outcome("crashed", True, True, f"the worker ended by {how} without saying why; see its log")


def exit_code(failures: Sequence[ChunkFailure]) -> Exit:
    """The exit code that the failures of a whole shard add up to.

    Device memory comes first: the next round needs another machine, which then also does what else is worth retrying.
    """
    if any(failure.category == errors.DeviceMemoryError.category for failure in failures):
        return Exit.DEVICE_MEMORY
    if any(failure.transient for failure in failures):
        return Exit.TRANSIENT
    return Exit.FAILED if failures else Exit.DONE


def translated(error: Exception) -> errors.SamaflowError:
    """What an exception of the model, the device or this machine means, in the project's own tree."""
    name, text = type(error).__name__, f"{type(error).__name__}: {error}"
    of_torch = any(kind.__module__.startswith("torch") for kind in type(error).__mro__)
    if isinstance(error, errors.SamaflowError):
        return error
    if isinstance(error, InstructionError):
        return errors.InstructionError(str(error))
    if name == "WeightsError":  # by name, as with torch: the modules that define them are heavy
        return errors.WeightsError(str(error))
    if name == "DeviceTooSmallError" or (of_torch and name == "OutOfMemoryError"):
        return errors.DeviceMemoryError(text)
    if (of_torch and name == "AcceleratorError") or re.match(r"(CUDA|HIP|cuDNN|NCCL)\b.*error", str(error)):
        return errors.DeviceError(text)
    if isinstance(error, MemoryError) or "DefaultCPUAllocator: can't allocate" in str(error):
        return errors.WorkerError(f"host memory did not suffice: {text}")
    if isinstance(error, OSError):
        return errors.StoreError(f"the worker's own disk: {text}")
    return errors.PermanentError(text)
