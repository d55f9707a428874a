"""One row of a manifest against everything that is known without its source: catalogue, settings, trust.

All wrong cells of a row are found in one pass, and a cell that is wrong already is asked nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from edits.catalogue import ALPHAS, DETAILS, FITS, INTERLACED, OWN_DETAIL, SCOPES, Card, Catalogue, Geometry
from edits.columns import BY_NAME, COLUMNS, SAMPLER
from edits.errors import (
    CellError,
    InstructionError,
    RowError,
    SettingsError,
    TrustError,
    nearest,
    quoted,
    sentence,
    shortened,
    without,
)
from edits.job import Sampling, ShotEdit
from edits.output import Target, folder_target, own_places, read_target, refuse_own
from edits.seams import USUAL, Seams
from edits.settings import Settings
from edits.shots import parse_shots
from edits.spreadsheet import Record
from edits.timecode import FrameNumber, Position, Seconds
from edits.trust import Trust

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One row whose text is right; what its positions mean on its source is still open."""

    line: int
    source: str
    """Absolute URI."""
    instruction: str
    editor: str
    weights: str
    preset: str
    """Empty for editors without a sampler."""
    start: Position | None
    end: Position | None
    seed: int
    sampling: Sampling | None
    deliverable: str
    detail: str
    target: Target
    output: str
    """The cell as written, for messages."""
    review: str
    """`required`, or empty."""
    project: str
    priority: int
    notes: str
    scope: str = "range"
    handles: int = 0
    fit: str = "squeeze"
    interlaced: str = "refuse"
    alpha: str = "refuse"
    audio: tuple[int, ...] | None = None
    """Numbers of audio tracks from 1; None: all."""
    cuts: tuple[Position, ...] | str = ""
    """Where shots begin, or the absolute URI of a file that lists it; empty: cuts are found."""
    rate: Fraction | None = None
    """Of a sequence of pictures."""
    shots: tuple[ShotEdit, ...] = ()
    seams: Seams = USUAL
    mask: str = ""
    """Absolute URI; empty: it is found."""
    lut: str = ""
    """Absolute URI; empty: none."""
    source_text: str = ""
    """The cell as written, for messages."""


class RowErrors:
    """What is wrong with one row so far."""

    def __init__(self, line: int, texts: Mapping[str, str]) -> None:
        """`texts`: the cells as written, by column."""
        self.texts = texts
        self.found: list[RowError] = []
        self._line = line

    def add(self, column: str, problem: str, remedy: str) -> None:
        self.found.append(RowError(self._line, column, shortened(self.texts.get(column, "")), problem, remedy))

    def expect(self, column: str, value: str, known: Iterable[str]) -> None:
        if value not in known:
            verb = "are" if column == "weights" else "is"
            self.add(column, f"no {column} {verb} called {quoted(value)}.", nearest(value, known))

    def catch(self, column: str, call: Callable[[], T]) -> T | None:
        """What `call` returns, or None when it says that the cell is wrong."""
        try:
            return call()
        except CellError as error:
            self.add(column, error.problem, error.remedy)
        except (TrustError, InstructionError) as error:
            self.add(column, sentence(without(self.texts.get(column, ""), str(error))), "")
        return None


class RowCheck:
    """What all rows of one manifest are held against. Remembers answers: rows repeat folders and instructions."""

    def __init__(
        self, catalogue: Catalogue, deliverables: Collection[str], settings: Settings, trust: Trust, base: Path | str
    ) -> None:
        """
        Raises:
            SettingsError: a default of the settings is unknown.
            TrustError: the settings' output folder is not allowed.
        """
        self._catalogue = catalogue
        self._deliverables = tuple(deliverables)
        self._settings = settings
        self._trust = trust.remembering()
        self._base = str(base)
        self._own = own_places(settings)
        self._folder = folder_target(settings.output_folder, base, trust)
        self._values: dict[tuple[str, str], object] = {}
        self._refusals: dict[tuple[str, str], InstructionError | None] = {}
        self._check_defaults()

    def _check_defaults(self) -> None:
        settings = self._settings
        try:
            refuse_own(self._folder.uri, self._own)
        except CellError as error:
            raise SettingsError(f"[paths] output: '{settings.output_folder}': {error}") from error
        _expect_default("editor", settings.default_editor, self._catalogue)
        _expect_default("deliverable", settings.default_deliverable, self._deliverables)
        for editor, weights in settings.default_weights.items():
            _expect_default("weights", editor, self._catalogue)
            _expect_default(f"weights.{editor}", weights, self._catalogue[editor].weights)

    def row(self, record: Record, header: tuple[str, ...]) -> tuple[ManifestRow | None, list[RowError]]:
        """The row, or None and all that is wrong with it."""
        texts = {name: text.strip() for name, text in zip(header, record.fields, strict=True)}
        errors = RowErrors(record.line, texts)
        row = self._row(record.line, self._parsed(texts, errors), errors)
        return (None if errors.found else row), errors.found

    def files_of(self, record: Record, header: tuple[str, ...]) -> Iterator[str]:
        """Absolute URIs of the files that a row reads, as far as its cells name any, whatever else is wrong with it."""
        for name, text in zip(header, record.fields, strict=False):
            if name in READ and text.strip():
                with suppress(TrustError):
                    yield self._trust.resolve(text.strip(), self._base)

    def _parsed(self, texts: Mapping[str, str], errors: RowErrors) -> dict[str, Any]:
        """Each column's value: its default where the cell is empty, absent or wrong."""
        cells: dict[str, Any] = dict(DEFAULTS)
        for name, text in texts.items():
            if not text:
                _refuse_if_required(name, errors)
            elif (name, text) in self._values:
                cells[name] = self._values[name, text]
            else:
                value = errors.catch(name, partial(BY_NAME[name].parse, text))
                if value is not None:
                    cells[name] = self._values[name, text] = value
        return cells

    def _row(self, line: int, cells: dict[str, Any], errors: RowErrors) -> ManifestRow:
        editor = cells["editor"] or self._settings.default_editor
        weights, card = self._card(editor, cells["weights"], errors)
        preset, sampling = _sampling(card, cells, errors) if card is not None else ("", None)
        if card is not None and cells["instruction"]:
            errors.catch("instruction", lambda: self._check_instruction(editor, cells["instruction"]))
        _check_order(cells["start"], cells["end"], errors)
        return ManifestRow(
            line=line,
            source=self._place("source", cells["source"], errors),
            source_text=cells["source"],
            instruction=cells["instruction"],
            editor=editor,
            weights=weights,
            preset=preset,
            start=cells["start"],
            end=cells["end"],
            seed=cells["seed"] or 0,
            sampling=sampling,
            deliverable=_known("deliverable", cells, self._settings.default_deliverable, self._deliverables, errors),
            detail=_known("detail", cells, self._own_detail(editor), DETAILS, errors),
            target=self._target(cells["output"], errors),
            output=cells["output"],
            review=cells["review"],
            project=cells["project"],
            priority=cells["priority"],
            notes=cells["notes"],
            scope=_known("scope", cells, SCOPES[0], SCOPES, errors),
            handles=cells["handles"],
            fit=_known("fit", cells, FITS[0], FITS, errors),
            interlaced=_known("interlaced", cells, INTERLACED[0], INTERLACED, errors),
            alpha=_known("alpha", cells, ALPHAS[0], ALPHAS, errors),
            audio=cells["audio"],
            cuts=self._cuts(cells["cuts"], errors),
            rate=cells["rate"],
            shots=self._shots(editor, card, cells["shots"], errors),
            mask=self._mask(cells, errors),
            lut=self._place("lut", cells["lut"], errors),
            seams=self._seams(editor, card, cells["seams"], sampling, errors),
        )

    def _card(self, editor: str, asked: str, errors: RowErrors) -> tuple[str, Card | None]:
        """(weights, their card); no card when editor or weights are unknown."""
        errors.expect("editor", editor, self._catalogue)
        entry = self._catalogue.get(editor)
        if entry is None:
            return "", None
        weights = asked or self._settings.default_weights.get(editor, entry.default_weights)
        errors.expect("weights", weights, entry.weights)
        return weights, entry.weights.get(weights)

    def _own_detail(self, editor: str) -> str:
        """The detail of a row that names none."""
        if self._settings.default_detail != OWN_DETAIL:
            return self._settings.default_detail
        entry = self._catalogue.get(editor)
        return DETAILS[0] if entry is None else entry.default_detail

    def _check_instruction(self, editor: str, instruction: str) -> None:
        key = (editor, instruction)
        if key not in self._refusals:
            self._refusals[key] = _refusal(self._catalogue[editor].check_instruction, instruction)
        if (refusal := self._refusals[key]) is not None:
            raise refusal

    def _place(self, column: str, text: str, errors: RowErrors) -> str:
        return (errors.catch(column, lambda: self._trust.resolve(text, self._base)) or "") if text else ""

    def _mask(self, cells: dict[str, Any], errors: RowErrors) -> str:
        if cells["mask"] and cells["detail"] == "upscale":
            errors.add("mask", "detail 'upscale' has no outside.", "Write full or tone as detail, or empty the cell.")
        return self._place("mask", cells["mask"], errors)

    def _cuts(self, cell: tuple[Position, ...] | str, errors: RowErrors) -> tuple[Position, ...] | str:
        return self._place("cuts", cell, errors) if isinstance(cell, str) else cell

    def _seams(
        self, editor: str, card: Card | None, seams: Seams, sampling: Sampling | None, errors: RowErrors
    ) -> Seams:
        entry = self._catalogue.get(editor)
        if seams.joint and entry is not None and not entry.joint:
            able = [name for name, other in self._catalogue.items() if other.joint]
            errors.add("seams", f"the editor '{editor}' edits one chunk at a time.", f"joint is for {', '.join(able)}.")
        elif seams.joint and card is not None and (shared := _shared_latents(card.geometry)) < 2:
            said = f"neighbouring chunks of the weights '{card.name}' share {shared} latent, and joint needs 2."
            errors.add("seams", said, "Write blend, or name other weights.")
        if seams.joint and sampling is not None and sampling.step_cache > 0:
            errors.add("seams", "this preset takes steps over from the one before.", "joint needs another preset.")
        return seams

    def _shots(self, editor: str, card: Card | None, text: str, errors: RowErrors) -> tuple[ShotEdit, ...]:
        shots = (errors.catch("shots", lambda: parse_shots(text)) or ()) if text else ()
        if card is not None and not card.recipes and any(shot.seed is not None for shot in shots):
            errors.add("shots", f"the editor '{editor}' draws no samples: it has no seed.", "Leave seed out.")
        for shot in shots if card is not None else ():
            if shot.instruction:
                errors.catch("shots", partial(self._check_instruction, editor, shot.instruction))
        return shots

    def _target(self, text: str, errors: RowErrors) -> Target:
        if not text:
            return self._folder
        target = errors.catch("output", lambda: read_target(text, self._base, self._trust)) or self._folder
        errors.catch("output", lambda: refuse_own(target.uri, self._own))
        return target


# -- cells ------------------------------------------------------------------------------------------------------------


DEFAULTS = {column.name: column.default for column in COLUMNS}
READ = ("source", "mask", "cuts", "lut")
"""Columns that name a file which is read."""


def _refuse_if_required(name: str, errors: RowErrors) -> None:
    column = BY_NAME[name]
    if column.required:
        errors.add(name, "the cell is empty.", f"{column.help} For example: {column.example}")


def _known(column: str, cells: dict[str, Any], default: str, known: Collection[str], errors: RowErrors) -> str:
    value: str = cells[column] or default
    errors.expect(column, value, known)
    return value


def _expect_default(key: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise SettingsError(f"[defaults] {key}: '{shortened(value)}' is unknown. {nearest(value, known)}")


def _refusal(check: Callable[[str], None], instruction: str) -> InstructionError | None:
    try:
        check(instruction)
    except InstructionError as error:
        return error
    return None


def _sampling(card: Card, cells: dict[str, Any], errors: RowErrors) -> tuple[str, Sampling | None]:
    """(preset, its settings with the row's own on top)."""
    recipes = dict(card.recipes)
    if not recipes:
        _refuse_sampler_columns(card, errors)
        return "", None
    preset = cells["preset"] or card.recipes[0][0]
    errors.expect("preset", preset, recipes)
    recipe = recipes.get(preset, card.recipes[0][1])
    steps = recipe.steps if cells["steps"] is None else cells["steps"]
    guidance = recipe.guidance if cells["guidance"] is None else cells["guidance"]
    return preset, Sampling(steps, guidance, recipe.shift, recipe.guided, recipe.step_cache)


def _refuse_sampler_columns(card: Card, errors: RowErrors) -> None:
    for column in SAMPLER:
        if errors.texts.get(column):
            errors.add(column, f"the editor '{card.editor}' draws no samples: it has no {column}.", "Empty the cell.")


def _check_order(start: Position | None, end: Position | None, errors: RowErrors) -> None:
    """What can be seen before the source is decoded; timecode is left for then, it may pass midnight."""
    if isinstance(start, FrameNumber) and isinstance(end, FrameNumber):
        wrong = end.frame <= start.frame
    elif isinstance(start, Seconds) and isinstance(end, Seconds):
        wrong = end.seconds <= start.seconds
    else:
        return
    if wrong:
        errors.add("end", f"not after the start, {start.text}.", "The end is exclusive: write a later one.")


def _shared_latents(geometry: Geometry) -> int:
    """Of a chunk and the next: the first is the later one's opening, which is never averaged."""
    factor = geometry.temporal_factor
    return (geometry.chunk_frames - 1) // factor + 1 - geometry.stride // factor
