"""GPU hours that a run may dispatch: what is spent, what is under way, and how many chunks may still be begun.

`tasks.budget` stops taking on rows and cancels at a ceiling; this is finer, and stops between two waves of chunks.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class GpuHours:
    """`--max-gpu-hours` of one run; without a limit everything may be begun."""

    limit_hours: float | None
    spent: dict[tuple[str, int, str, int], float] = field(default_factory=dict)
    """GPU-seconds by worker: dispatch, shard, name and round."""

    @property
    def spent_seconds(self) -> float:
        return sum(self.spent.values())

    @property
    def reached(self) -> bool:
        """Whether the limit is spent."""
        return self.limit_hours is not None and self.spent_seconds >= self.limit_hours * 3600

    def room(self, under_way: int, chunk_seconds: float, wanted: int) -> int:
        """Of `wanted` chunks, how many may be begun while `under_way` are being edited."""
        if self.limit_hours is None:
            return wanted
        left = self.limit_hours * 3600 - self.spent_seconds - under_way * chunk_seconds
        return max(0, min(wanted, int(left / max(chunk_seconds, 1e-6))))

    def said(self, left: int) -> str:
        """What a job is told that ends here."""
        return (
            f"the limit of {self.limit_hours:g} GPU-hours is reached ({self.spent_seconds / 3600:.2f} spent): {left} "
            "of its chunks are not edited. What is edited is kept; run again with a higher limit "
            "(--max-gpu-hours, in a form GPU-hours at most)"
        )
