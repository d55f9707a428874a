"""Processes that train as one: each takes its share of a step's examples, and what they find is brought together.

Started by torchrun, one process a GPU, or several on CPUs. Alone, everything here is what it is given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sama_model.training.data import Bad

Content = TypeVar("Content", contravariant=True)


class Ask(Protocol[Content]):
    """Losses of a batch by name."""

    def __call__(self, content: Content) -> Mapping[str, Tensor]: ...


class Asked(nn.Module, Generic[Content]):
    """A loss as the forward pass of a module: where DistributedDataParallel looks for what it has to bring together."""

    def __init__(self, module: nn.Module, ask: Ask[Content]) -> None:
        super().__init__()
        self.module = module
        self.ask = ask

    def forward(self, content: Content) -> dict[str, Tensor]:
        return dict(self.ask(content))


@dataclass(frozen=True)
class Together:
    """The processes, as accelerate knows them."""

    accelerator: Any

    @classmethod
    def here(cls) -> Together:
        """Those that torchrun has started, or this one alone.

        Raises:
            ValueError: accelerate does not see them: each would train for itself, in the same folder.
        """
        started = int(os.environ.get("WORLD_SIZE", "1"))
        # On CPUs accelerate brings processes together only when it is told that there is nothing else.
        accelerator = Accelerator(cpu=started > 1 and not torch.cuda.is_available())
        if accelerator.num_processes != started:
            raise ValueError(
                f"{started} processes were started and accelerate sees {accelerator.num_processes} of them"
            )
        return cls(accelerator)

    @property
    def alone(self) -> bool:
        return bool(self.accelerator.num_processes == 1)

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and tells."""
        return bool(self.accelerator.is_main_process)

    def asking(self, module: nn.Module, ask: Ask[Content]) -> Ask[Content]:
        """As `ask`; with others, the backward pass leaves the mean of all processes' gradients in `module`."""
        if self.alone:
            return ask
        return DistributedDataParallel(Asked(module, ask))

    def totals(self, values: Sequence[float]) -> list[float]:
        """Sums over the processes."""
        if self.alone:
            return list(values)
        mine = torch.tensor(values, dtype=torch.float64, device=self.accelerator.device)
        summed: list[float] = self.accelerator.reduce(mine, "sum").tolist()
        return summed

    def weight(self, examples: int) -> float:
        """Of this process's mean in the mean of the processes' means, so that every example counts alike."""
        if self.alone:
            return 1.0
        processes: int = self.accelerator.num_processes
        return examples * processes / self.totals([examples])[0]

    def means(self, figures: Mapping[str, float], examples: int) -> tuple[tuple[str, float], ...]:
        """Over the examples of all processes, from the means over each one's own."""
        if self.alone:
            return tuple(figures.items())
        count, *sums = self.totals([examples, *(value * examples for value in figures.values())])
        return tuple((name, total / count) for name, total in zip(figures, sums, strict=True))

    def all_bad(self, bad: tuple[Bad, ...]) -> tuple[Bad, ...]:
        """The examples that any process left out, in their order."""
        if self.alone:
            return bad
        return tuple(sorted(gather_object(list(bad)), key=lambda each: each.number))

    def any(self, said: bool) -> bool:
        """Whether any process says so."""
        return self.totals([float(said)])[0] > 0

    def wait(self) -> None:
        """Until all are here."""
        self.accelerator.wait_for_everyone()
