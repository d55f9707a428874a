"""The loop of every part: batches in, a better module out, going on where a killed run left off.

A step's numbers follow from the settings, the data and the step: no state of a random generator is carried over. On
one device a resumed run therefore ends in the same bits as one that was never stopped. Processes that train together
(torchrun) take the same steps, to the order in which sums are made: each has its share of a step's examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import cv2
import torch
from diffusers.training_utils import EMAModel
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from sama_model.errors import WeightsError
from sama_model.training import checkpoints
from sama_model.training.data import Bad, BadExampleError, Share
from sama_model.training.settings import LoopSettings
from sama_model.training.together import Ask, Together

AHEAD = 4
"""Batches that each drawing process has ready."""

IN_VAIN = 20
"""Steps one after the other without an example: then it is not some rows that are bad."""

AVERAGE = "average.safetensors"
"""Of a checkpoint's files, the one that accelerate does not write."""

Content = TypeVar("Content")
Made = TypeVar("Made")


class PausedError(Exception):
    """The run was told to stop: what was done is in a checkpoint, and the same call goes on from there."""


@runtime_checkable
class Pinned(Protocol):
    """Content that can be where a GPU reads it by itself."""

    def pin_memory(self) -> Any: ...


@dataclass(frozen=True)
class Drawn(Generic[Content]):
    """What a step is shown, on the CPU."""

    content: Content
    bad: tuple[Bad, ...] = ()
    """Examples that were left out of it."""
    count: int = 1
    """Examples in it that count; 0: those of other processes do, and this one only keeps step."""

    def pin_memory(self) -> Drawn[Content]:
        """As torch's DataLoader asks for it, for content that knows how."""
        return replace(self, content=self.content.pin_memory()) if isinstance(self.content, Pinned) else self


@dataclass(frozen=True)
class EmptyStep:
    """Instead, of a step of which no example can be trained on, whoever would draw it."""

    bad: tuple[Bad, ...]


class Draw(Protocol[Content]):
    """Batches by their step alone, whatever process draws them."""

    def __call__(self, step: int) -> Drawn[Content] | EmptyStep: ...

    def sharing(self, share: Share) -> Draw[Content]:
        """A share of each, as it is of the whole."""


class Task(Protocol[Content]):
    """What is trained, on what, to say what."""

    @property
    def part(self) -> str:
        """What it is called in the progress."""

    @property
    def data(self) -> str:
        """Names the data in checkpoints."""

    @property
    def module(self) -> nn.Module:
        """What is trained."""

    @property
    def draw(self) -> Draw[Content]:
        """A step's batch."""

    def place(self, device: torch.device) -> None:
        """Puts there what is used and not trained."""

    def losses(self, content: Content) -> Mapping[str, Tensor]:
        """Scalars by name; `total` is what is made small."""


@dataclass(frozen=True)
class Progress:
    """One step's figures."""

    part: str
    step: int
    """Counted from 0."""
    steps: int
    """Of the part."""
    figures: tuple[tuple[str, float], ...]
    """Losses by name; none: the step had no example that can be trained on, and changed nothing."""
    gradient: float
    """Norm before it was clipped."""
    bad: tuple[Bad, ...]

    def figure(self, name: str) -> float:
        """The loss of this name."""
        return dict(self.figures)[name]


Tell = Callable[[Progress], None]
Stop = Callable[[], bool]


def never() -> bool:
    """No reason to stop."""
    return False


def fit(task: Task[Content], settings: LoopSettings, run: Path, tell: Tell, stop: Stop = never) -> EMAModel:
    """Trains the task's module in place from the newest checkpoint of `run` on, and returns its average.

    `stop` is asked after every step. Of processes that train together the first tells and writes, and all stop when one
    is told to.

    Raises:
        PausedError: `stop` said so before the last step.
        WeightsError: a checkpoint of other settings or data, or a damaged one.
        BadExampleError: `IN_VAIN` steps one after the other had no example that can be trained on.
    """
    together = Together.here()
    accelerator = together.accelerator
    task.place(accelerator.device)
    parameters = trained_of(task.module)
    accelerator.prepare_model(task.module, evaluation_mode=True)  # placed, and in checkpoints, but not wrapped
    optimizers = [accelerator.prepare(each) for each in optimizers_of(task.module, settings)]
    ask = together.asking(task.module, task.losses)
    average = EMAModel(parameters, decay=settings.ema_decay, foreach=True)

    def named(done: int) -> str:
        return f"{settings.digest(done)} {task.data}"

    found = checkpoints.newest(run, named)
    first = 0
    if found is not None:
        accelerator.load_state(str(found[0]))
        load_average(average, found[0])
        first = found[1].step
    steps = range(first, settings.steps)
    draw = task.draw.sharing(Share(accelerator.process_index, accelerator.num_processes))
    in_vain = 0
    for step, drawn in zip(steps, ahead(draw, steps, settings.workers), strict=True):
        progress = one_step(together, optimizers, ask, settings, Step(task.part, step, drawn))
        if progress.figures:
            average.step(parameters)
        if together.first:
            tell(progress)
        in_vain = 0 if progress.figures else in_vain + 1
        if in_vain == IN_VAIN:
            raise BadExampleError(
                f"{task.part}: {IN_VAIN} steps one after the other, to step {step + 1}, had no example that can be "
                f"trained on; the last one: {progress.bad[-1].reason}"
            )
        last = step + 1 == settings.steps
        stopped = together.any(stop()) and not last
        if last or stopped or (step + 1) % settings.checkpoint_every == 0:
            if together.first:
                checkpoints.write(run, step + 1, named(step + 1), partial(save, accelerator, average))
            together.wait()
        if stopped:
            raise PausedError(f"{task.part}: stopped after {step + 1} of {settings.steps} steps")
    return average


def optimizers_of(module: nn.Module, settings: LoopSettings) -> list[torch.optim.Optimizer]:
    """What steps the parameters that have gradients: AdamW, and the matrices of blocks Muon where that is asked for.

    Muon makes an update's singular values alike (Keller Jordan et al. 2024, kellerjordan.github.io/posts/muon), here of
    the size that AdamW's has (arXiv 2502.16982), so that one learning rate does for both.
    """
    by_muon = [
        parameter
        for name, parameter in module.named_parameters()
        if settings.optimizer == "muon" and parameter.requires_grad and parameter.dim() == 2 and ".blocks." in name
    ]
    taken = {id(parameter) for parameter in by_muon}
    others = [parameter for parameter in trained_of(module) if id(parameter) not in taken]
    rate, decay = settings.learning_rate, settings.weight_decay
    adamw = torch.optim.AdamW(others, lr=rate, weight_decay=decay, fused=True)
    if not by_muon:
        return [adamw]
    return [adamw, torch.optim.Muon(by_muon, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")]


@dataclass(frozen=True)
class Step(Generic[Content]):
    """One step of a part."""

    part: str
    number: int
    drawn: Drawn[Content] | EmptyStep


def one_step(
    together: Together, optimizers: list[Any], ask: Ask[Content], settings: LoopSettings, step: Step[Content]
) -> Progress:
    """Loss, gradient, update; nothing of it where the step has no example."""
    accelerator, drawn = together.accelerator, step.drawn
    if isinstance(drawn, EmptyStep):
        return Progress(step.part, step.number, settings.steps, (), 0.0, together.all_bad(drawn.bad))
    lower = settings.mixed_precision == "bf16"
    with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=lower):
        losses = ask(drawn.content)
    accelerator.backward(losses["total"] * together.weight(drawn.count))
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    norm = accelerator.clip_grad_norm_([each for group in groups for each in group["params"]], settings.clip)
    for group in groups:
        group["lr"] = settings.rate_at(step.number)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    figures = together.means({name: loss.item() for name, loss in losses.items()}, drawn.count)
    return Progress(step.part, step.number, settings.steps, figures, float(norm), together.all_bad(drawn.bad))


# -- drawing ----------------------------------------------------------------------------------------------------------


class _Steps(Dataset[Drawn[Content] | EmptyStep]):
    """Batches by their place in a range of steps."""

    def __init__(self, draw: Callable[[int], Drawn[Content] | EmptyStep], steps: range) -> None:
        self.draw = draw
        self.steps = steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, place: int) -> Drawn[Content] | EmptyStep:
        return self.draw(self.steps[place])


def ahead(
    draw: Callable[[int], Drawn[Content] | EmptyStep], steps: range, workers: int
) -> Iterator[Drawn[Content] | EmptyStep]:
    """The batches of `steps` in their order, drawn by so many processes ahead of whoever takes them.

    Each of these is alone on its core: OpenCV's threads would stand in their way, and a child that is forked off cannot
    stop those of its parent.
    """
    if workers:
        cv2.setNumThreads(1)
    loader = DataLoader(
        _Steps(draw, steps),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        collate_fn=unchanged,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)


def unchanged(drawn: Any) -> Any:
    """A batch is made where it is drawn."""
    return drawn


# -- checkpoints ------------------------------------------------------------------------------------------------------


def save(accelerator: Any, average: EMAModel, folder: Path) -> None:
    """Everything that a step leaves to the next one."""
    accelerator.save_state(str(folder))
    shadows = {str(place): shadow.cpu() for place, shadow in enumerate(average.shadow_params)}
    save_file(shadows, folder / AVERAGE, metadata={"steps": str(average.optimization_step)})


def load_average(average: EMAModel, folder: Path) -> None:
    """The average as `save` wrote it. Not accelerate's way, which unpickles: a folder may come from elsewhere.

    Raises:
        WeightsError: the checkpoint has none.
    """
    path = folder / AVERAGE
    if not path.is_file():
        raise WeightsError(f"{path}: missing, as an older samaflow wrote it; remove {folder.parent} to train it again")
    with safe_open(path, "pt") as file:
        average.optimization_step = int(file.metadata()["steps"])
        for place, shadow in enumerate(average.shadow_params):
            shadow.copy_(file.get_tensor(str(place)))


# -- ends -------------------------------------------------------------------------------------------------------------


def seeded(make: Callable[[], Made], seed: int) -> Made:
    """What `make` makes of torch's random numbers, the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def trained_of(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that have gradients."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def adopt(average: EMAModel, module: nn.Module) -> None:
    """Puts the average in the place of what was trained, and freezes it."""
    average.copy_to(trained_of(module))
    module.requires_grad_(False).eval()
