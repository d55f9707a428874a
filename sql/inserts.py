"""INSERT that meets a row that is there already: skipped or refreshed, the same words on both databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from sql.base import Base

Row = Mapping[str, Any]


def insert_new(session: Session, model: type[Base], rows: Sequence[Row]) -> None:
    """Insert the rows that contradict no key; leave the others as they are."""
    if rows:
        session.execute(_insert(session, model).on_conflict_do_nothing(), [dict(row) for row in rows])


def insert_one(session: Session, model: type[Base], row: Row) -> bool:
    """Insert `row` unless it is there. True when it was new."""
    key = model.__mapper__.primary_key[0]
    statement = _insert(session, model).values(**row).on_conflict_do_nothing().returning(key)
    return session.execute(statement).first() is not None


def upsert(session: Session, model: type[Base], keys: Sequence[str], row: Row, fresh: Row) -> None:
    """Insert `row`, or set the columns of `fresh` where `keys` (a unique set of columns) are taken."""
    statement = _insert(session, model).values(**row)
    session.execute(statement.on_conflict_do_update(index_elements=list(keys), set_=dict(fresh)))


def add_up(session: Session, model: type[Base], key: Row, amounts: Row) -> None:
    """Insert the row of `key` with these amounts, or add them to those that are there."""
    statement = _insert(session, model).values(**key, **amounts)
    sums = {name: getattr(model, name) + statement.excluded[name] for name in amounts}
    session.execute(statement.on_conflict_do_update(index_elements=list(key), set_=sums))


def _insert(session: Session, model: type[Base]) -> sqlite.Insert | postgresql.Insert:
    make = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    return make(model)
