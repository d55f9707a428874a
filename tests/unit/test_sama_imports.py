"""What the flow side imports must not load torch: it runs on images without it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
{statement}
heavy = sorted({{name.split('.')[0] for name in sys.modules}} & {{'torch', 'diffusers', 'transformers', 'accelerate'}})
sys.exit(f'loaded {{heavy}}' if heavy else 0)
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import sama_model",
        "import sama_model.cards",
        "import sama_model.config",
        "import sama_model.editors",
        "from sama_model.editors import check_instruction; check_instruction('sama', 'make it snow')",
        "from sama_model.editors import load; load('grade', 'builtin')",
    ],
)
def test_no_torch_is_loaded(statement: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement=statement)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
