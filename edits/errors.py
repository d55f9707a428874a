"""Every error that samaflow raises on purpose, and whether trying again can help.

    SamaflowError
    |-- PermanentError             the same call will fail again: never retried
    |   |-- ManifestError          the whole manifest is unusable (empty, binary, unknown column)
    |   |-- RowError               one row of a manifest is wrong: line, column, value, remedy
    |   |   `-- UnreadableError    a cell names a video that cannot be read; of the SourceError's category
    |   |-- CellError              one value is wrong; becomes a RowError where line and column are known
    |   |-- BadRowError            all wrong cells of one row
    |   |-- SettingsError          samaflow.toml, an environment variable or a command-line value
    |   |-- TrustError             a URI outside the allowed roots or schemes
    |   |-- SourceError            a video that cannot be read whole, or of a kind that is refused
    |   |-- InstructionError       an editor does not know what to do with an instruction
    |   |-- WeightsError           model files that are missing, damaged or of another model
    |   |-- RecordError            a JSON record of the store or the protocol that cannot be read
    |   |-- StateError             a change of state that the job's life does not allow
    |   |-- OutputError            the deliverable's place: exists and is not ours, cannot be written
    |   |-- VerificationError      something that was written is not what was planned
    |   |-- ClusterSetupError      the cluster refuses: rights, quota, an object that it does not accept
    |   `-- DatabaseError          the database cannot be used as it is (version, address, rights)
    `-- TransientError             worth trying again
        |-- StoreError             the object store or file system did not answer, or is full
        |-- DeviceError            the accelerator failed
        |   `-- DeviceMemoryError  the accelerator's memory did not suffice, after one smaller profile
        |-- ClusterError           the cluster's API server does not answer, or not now
        |-- WorkerError            a worker process died without saying why
        `-- BusyError              the database or another flow holds what is needed

A message says what was wrong, where (file, line, column, key, frame), and what to do. Errors of other libraries are
translated once, where the library is called, with `from`. `sama_model` raises its own (it does not know this tree);
`tasks.gpu` translates those.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby


class SamaflowError(Exception):
    """Root of the tree. `category` is the short stable word that status objects, events and `--json` carry."""

    category: str = "error"


class PermanentError(SamaflowError):
    """The same call with the same input fails again."""

    category = "permanent"


class ManifestError(PermanentError):
    category = "manifest"


@dataclass(frozen=True)
class WrongCell:
    """What is wrong with one cell. Part of the `--json` output: fields are added, never renamed."""

    column: str
    """Empty when the row is wrong as a whole: it has too many fields, say."""
    value: str
    problem: str
    remedy: str

    def told(self, name: str = "") -> str:
        """What is wrong and what to do. `name`: what the reader knows the cell by, where that is not its column."""
        cell = name or (f"column '{self.column}'" if self.column else "")
        place = f"{cell}, value {quoted(self.value)}: " if cell else ""
        return f"{place}{self.problem} {self.remedy}".rstrip()


class RowError(PermanentError):
    """One wrong value in one row. Rows are reported all at once, so this is a record as much as an exception."""

    category = "row"

    def __init__(self, line: int, column: str, value: str, problem: str, remedy: str) -> None:
        self.line = line
        """1-based line of the manifest, as an editor shows it."""
        self.column = column
        self.value = value
        """The value as written, cut to 80 characters."""
        self.problem = problem
        self.remedy = remedy
        """What to write instead."""
        super().__init__(f"line {line}{', ' if column else ': '}{self.cell.told()}")

    @property
    def cell(self) -> WrongCell:
        return WrongCell(self.column, self.value, self.problem, self.remedy)


class CellError(PermanentError):
    """One value that cannot be used, raised where its line and column are not known."""

    category = "row"

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{problem} {remedy}".rstrip())


class BadRowError(PermanentError):
    """Every wrong cell of one row."""

    category = "row"

    def __init__(self, errors: Sequence[RowError]) -> None:
        self.errors = tuple(errors)
        self.line = errors[0].line
        super().__init__("; ".join(str(error).removesuffix(".") for error in errors) + ".")


class SettingsError(PermanentError):
    category = "settings"


class TrustError(PermanentError):
    category = "trust"


class SourceError(PermanentError):
    category = "source"


class UnreadableError(RowError):
    """A SourceError at the cell that names the file."""

    category = SourceError.category


class InstructionError(PermanentError):
    category = "instruction"


class WeightsError(PermanentError):
    category = "weights"


class RecordError(PermanentError):
    category = "record"


class StateError(PermanentError):
    category = "state"


class OutputError(PermanentError):
    category = "output"


class VerificationError(PermanentError):
    category = "verification"


class DatabaseError(PermanentError):
    category = "database"


class ClusterSetupError(PermanentError):
    category = "cluster_setup"


class TransientError(SamaflowError):
    """Worth trying again: later, on another machine, or with more room."""

    category = "transient"


class StoreError(TransientError):
    category = "store"


class DeviceError(TransientError):
    category = "device"


class DeviceMemoryError(DeviceError):
    category = "device_memory"


class WorkerError(TransientError):
    category = "worker"


class ClusterError(TransientError):
    category = "cluster"


class BusyError(TransientError):
    category = "busy"


def is_transient(category: str) -> bool:
    """Whether the error that carries this category is worth trying again."""
    kinds: list[type[SamaflowError]] = [TransientError, *TransientError.__subclasses__(), *DeviceError.__subclasses__()]
    return category in {kind.category for kind in kinds}


def by_row(errors: Iterable[RowError]) -> tuple[BadRowError, ...]:
    """One error a row, in order of line."""
    in_order = sorted(errors, key=lambda error: error.line)
    return tuple(BadRowError(list(cells)) for _, cells in groupby(in_order, key=lambda error: error.line))


def wrong_cells(error: SamaflowError) -> tuple[WrongCell, ...]:
    """The cells that an error is about; empty for one that is not about cells."""
    if isinstance(error, BadRowError):
        return tuple(found.cell for found in error.errors)
    return (error.cell,) if isinstance(error, RowError) else ()


def cells_told(cells: Sequence[WrongCell], names: Mapping[str, str]) -> str:
    """All wrong cells of one row, without its line. `names`: what the reader knows them by, by column."""
    return "; ".join(cell.told(names.get(cell.column, "")).removesuffix(".") for cell in cells) + "."


def quoted(value: str, limit: int = 80) -> str:
    """`value` shortened and in quotes, as it was written but for characters that a terminal would obey."""
    shown = (char if char.isprintable() else repr(char)[1:-1] for char in shortened(value, limit))
    return f"'{''.join(shown)}'"


def without(value: str, message: str) -> str:
    """`message` without the value that it begins with, for where that stands beside it already."""
    for shown in (value, quoted(value), quoted(value, 200)):
        if value and message.startswith(f"{shown}:"):
            return message.removeprefix(f"{shown}:").lstrip()
    return message


def sentence(text: str) -> str:
    """`text` with a full stop, unless it ends a sentence already."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def shortened(value: str, limit: int = 80) -> str:
    """`value` cut to `limit` characters, so that a message about a 200 MB line stays readable."""
    return value if len(value) <= limit else value[: limit - 1] + "…"


def nearest(value: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'? Known: x, y, z.` for a word that is not among `known`; the guess only when one is close."""
    words = list(known)
    return f"{guess(value, words)} Known: {', '.join(words) or 'none'}.".lstrip()


def guess(value: str, known: Iterable[str]) -> str:
    """`Did you mean 'x'?`, or nothing when no known word is close."""
    close = get_close_matches(value.lower()[:80], list(known), n=1)
    return f"Did you mean '{close[0]}'?" if close else ""
