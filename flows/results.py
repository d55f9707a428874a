"""Standard output as results are printed to it."""

from __future__ import annotations

from typing import Any

from rich.console import Console

WIDE = 100_000
"""Characters: wider than any row."""


class Results(Console):
    """A terminal has a width to fit into; in a file or a pipe each row of a table is one line, however long."""

    def __init__(self) -> None:
        super().__init__(width=None if Console().is_terminal else WIDE)

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich's, without the blanks that fill up a table's last column where nobody sees its edge."""
        if self.is_terminal:
            super().print(*objects, **options)
            return
        with self.capture() as captured:
            super().print(*objects, **options)
        for line in captured.get().splitlines():
            self.file.write(line.rstrip() + "\n")


out = Results()
