"""Frozen records to JSON bytes and back, strictly: what the store, the worker protocol and `--json` exchange.

pydantic does the work; unknown fields and wrong types are errors that name the file and the field.
"""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from edits.errors import RecordError

Record = TypeVar("Record")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def dump(record: object, *, indent: int | None = None) -> bytes:
    """The record as UTF-8 JSON; field order is the declaration's, so equal records give equal bytes."""
    return _adapter(type(record)).dump_json(record, indent=indent)


def load(kind: type[Record], data: bytes, name: str) -> Record:
    """Parse `data` as a `kind`. `name` (a path or URI) goes into the error.

    Raises:
        RecordError: not JSON, a missing, unknown or wrongly typed field.
    """
    try:
        record: Record = _adapter(kind).validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise RecordError(f"{name}: not a valid {kind.__name__} record: {where}: {first['msg']}") from error
    return record
