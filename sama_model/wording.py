"""Names and other people's messages, as errors write them. No torch here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

LISTED = 200
"""Names written out a kind in an error, those of a network's blocks as one: far more than a network has. A file of
other things could hold any number."""

NUMBERED = re.compile(r"(\D*?\.)(\d+)(\..*)", re.DOTALL)
"""Before, the number, after: the first number that stands between dots."""


def first_sentence(error: Exception) -> str:
    """What a library says, without the advice that it goes on with."""
    return str(error).strip().split("\n")[0].split(". ")[0].removesuffix(".")


def counted(kinds: Mapping[str, Collection[str]]) -> str:
    """Names by what is wrong with them: `2 missing: a, b; 1 unexpected: c`; nothing where there are none."""
    return "; ".join(f"{len(names)} {kind}: {listed(names)}" for kind, names in kinds.items() if names)


def listed(names: Iterable[str]) -> str:
    """The names, sorted; of those that differ in the number of a block alone one: `blocks.{0-38,40}.ffn.0.bias`."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for name in names:
        match = NUMBERED.fullmatch(name)
        numbers.setdefault((match[1], match[3]) if match else (name, ""), []).extend([int(match[2])] if match else [])
    folded = [before + ranges(found) + after for (before, after), found in sorted(numbers.items())]
    rest = f" and {len(folded) - LISTED} more" if len(folded) > LISTED else ""
    return ", ".join(folded[:LISTED]) + rest


def ranges(numbers: Iterable[int]) -> str:
    """`7`, or `{0-4,7}`; nothing for none."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    said = ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return said if said.isdigit() else f"{{{said}}}" if said else ""
