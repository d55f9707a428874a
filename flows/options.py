"""Options that several commands share: one name, one meaning everywhere, whether work is done here or handed over."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.forms import ExecutorName, PreviewName

Store = Annotated[str | None, typer.Option(help="URI of the store (file: or s3:).")]
Workers = Annotated[int | None, typer.Option(min=1, help="Local worker processes.")]
Allow = Annotated[list[str] | None, typer.Option(help="A folder that may be read and written; repeatable.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace deliverables that are there already.")]
StrictPrompts = Annotated[
    bool | None,
    typer.Option("--strict-prompts", help="Fail rows whose prompt has more than 512 tokens instead of cutting it."),
]
Preview = Annotated[PreviewName, typer.Option(help="Look first: the beginning of each shot, or all in few steps.")]
Executor = Annotated[ExecutorName, typer.Option(help="Where workers run; `executor.kind` of the settings by default.")]
GpuHours = Annotated[
    float, typer.Option("--max-gpu-hours", min=0, help="Dispatch no further chunks beyond; 0: no limit.")
]
