"""Frozen records to JSON bytes and back, strictly: what the store, the worker protocol and `--json` exchange.

pydantic does the work; unknown fields and wrong types are errors that name the file and the field.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from edits.errors import RecordError

Record = TypeVar("Record")


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}
"""Building an adapter costs milliseconds, using one microseconds."""


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


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
