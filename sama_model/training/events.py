"""Every step's figures as TensorBoard's event files: FOLDER/tensorboard/PART, a run there for each part."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from tensorboardX import SummaryWriter

from sama_model.training.loop import Progress


@dataclass
class EventFiles:
    """Appends to what is there; TensorBoard forgets steps behind the one that a resumed run goes on from."""

    folder: Path
    writers: dict[str, SummaryWriter] = field(default_factory=dict)

    def tell(self, progress: Progress) -> None:
        """One step."""
        if progress.part not in self.writers:
            folder = str(self.folder / progress.part)
            other = f".{time.time_ns()}"  # its own name has seconds: a file of the same second would be overwritten
            self.writers[progress.part] = SummaryWriter(folder, purge_step=progress.step, filename_suffix=other)
        writer = self.writers[progress.part]
        for name, value in (*progress.figures, ("gradient", progress.gradient)) if progress.figures else ():
            writer.add_scalar(name.replace(" ", "_"), value, progress.step)
        if progress.bad:
            writer.add_scalar("left_out", len(progress.bad), progress.step)

    def close(self) -> None:
        """What is held back is written."""
        for writer in self.writers.values():
            writer.close()
