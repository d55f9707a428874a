"""A training in several processes of this machine: torchrun as a library, with the exit codes of a training.

torchrun itself makes 1 of whatever its processes ended with.
"""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Sequence

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from sama_model.training.stopping import PAUSED

SHUTDOWN_SECONDS = 50
"""From SIGTERM, at which a process ends its step and writes a checkpoint, to SIGKILL."""


def train_in(processes: int, arguments: Sequence[str]) -> int:
    """`python -m sama_model.training ARGUMENTS` in so many processes; the exit code of the first that fails or pauses.

    A process that a signal ended counts as in a shell: 128 and the signal's number. SIGTERM and Ctrl-C are handed on:
    all stop after the same step, with a checkpoint. Each computes in one thread, unless OMP_NUM_THREADS says otherwise.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as torchrun does
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # it takes a pause for a failure
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=uuid.uuid4().hex,
        max_restarts=0,
        monitor_interval=0.2,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    safe = ["-P"] if sys.flags.safe_path else []
    try:
        elastic_launch(config, sys.executable)(*safe, "-u", "-m", "sama_model.training", *arguments)
    except ChildFailedError as failed:
        _, failure = failed.get_first_failure()
        code = int(failure.exitcode)
        return code if code >= 0 else 128 - code
    except SignalException:
        return PAUSED
    return 0
