"""Which rows of the sequence a block computes in this process, and where it gets those of the other processes from.

x (B, N, ...)     the whole sequence, [source | semantic | target]; N is odd
  (B, n, ...)     this process's rows of it
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.distributed as dist
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Share:
    """The rows of a sequence, dealt to the processes of a group in their order; the last has fewer."""

    group: dist.ProcessGroup
    total: int

    def mine(self, x: Tensor) -> Tensor:
        """(B, N, ...) -> (B, n, ...)."""
        begin = dist.get_rank(self.group) * self.most
        return x[:, begin : begin + self.most]

    def whole(self, x: Tensor) -> Tensor:
        """(B, n, ...) of every process -> (B, N, ...) in each: the same bits everywhere."""
        rows = x.transpose(0, 1)
        rows = pad(rows, (0, 0) * (x.ndim - 1) + (0, self.most - x.shape[1])).contiguous()
        gathered = rows.new_empty(self.count * self.most, *rows.shape[1:])
        dist.all_gather_into_tensor(gathered, rows, group=self.group)
        return gathered[: self.total].transpose(0, 1)

    @property
    def count(self) -> int:
        return dist.get_world_size(self.group)

    @property
    def most(self) -> int:
        """Rows of every process but the last."""
        return -(-self.total // self.count)


def share_of(group: dist.ProcessGroup, total: int) -> Share:
    """How `total` rows are dealt.

    Raises:
        ValueError: a process would be left without any.
    """
    share = Share(group, total)
    if share.most * (share.count - 1) >= total:
        raise ValueError(f"{total} rows cannot be dealt to {share.count} processes: take fewer processes")
    return share


@dataclass(frozen=True)
class Rows:
    """Which rows of the sequence a block computes; all rows serve as keys and values."""

    first: int = 0
    """Rows before this one are not computed: nothing reads them."""
    semantic: tuple[int, int] | None = None
    """Half-open range, in the whole sequence, of rows whose queries are zero; None: treat them as the others."""
    share: Share | None = None
    """How the block's input is dealt to processes; None: this one has all of it."""

    def everybodys(self, x: Tensor) -> Tensor:
        """(B, n, ...) as the block has it -> (B, N, ...)."""
        return x if self.share is None else self.share.whole(x)


ALL_ROWS = Rows()
