"""Errors of a form: the row that a form has filled in is no line of a manifest, so its cells are named as fields."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prefect import Flow

from edits.errors import BadRowError, PermanentError, cells_told, wrong_cells
from tasks.conclude import SomeJobsFailedError


class FormError(PermanentError):
    """A value of a form that cannot be used; the message names the field."""

    category = BadRowError.category


@contextmanager
def naming_fields(form: Flow[..., Any]) -> Iterator[None]:
    """Inside, what is wrong with the one row that `form` makes names the form's fields, as they are titled.

    Raises:
        FormError: the row cannot run.
        SomeJobsFailedError: it ran, or was to, and is not delivered.
    """
    shown = form.parameters.properties
    names = {column: f"field '{facts['title']}' ({column})" for column, facts in shown.items()}
    try:
        yield
    except BadRowError as error:
        raise FormError(cells_told(wrong_cells(error), names)) from error
    except SomeJobsFailedError as error:
        raise SomeJobsFailedError(error.summary, error.first.told(names)) from error
