"""What a database is made of, in a form that can be compared: columns, constraints, indexes and views."""

from __future__ import annotations

import re

import sqlalchemy as sa
from sqlalchemy.orm import Session

import sql

Shape = dict[str, list[str]]

_POSTGRESQL = {
    "column": "SELECT table_name, concat_ws(' ', column_name, data_type, character_maximum_length, is_nullable,"
    " column_default) FROM information_schema.columns WHERE table_schema = 'public'",
    "constraint": "SELECT conrelid::regclass::text, conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace",
    "index": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "view": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'",
}


def shape(db: sql.Database) -> Shape:
    """By table or view; `alembic_version` is left out, and so is the order."""
    with db.read() as session:
        facts = _sqlite(session) if db.url.get_backend_name() == "sqlite" else _postgresql(session)
    found: Shape = {}
    for table, fact in facts:
        if table != "alembic_version":
            found.setdefault(table, []).append(fact)
    return {table: sorted(said) for table, said in found.items()}


def _postgresql(session: Session) -> list[tuple[str, str]]:
    return [
        (table, f"{kind} {fact}")
        for kind, query in _POSTGRESQL.items()
        for table, fact in session.execute(sa.text(query))
    ]


def _sqlite(session: Session) -> list[tuple[str, str]]:
    facts = []
    for kind, name, table, text in session.execute(sa.text("SELECT type, name, tbl_name, sql FROM sqlite_master")):
        if kind == "table":
            facts += [(name, fact) for fact in _sqlite_table(session, name, text)]
        elif text is not None:  # None: made for a constraint, which the table's text has
            facts.append((table, " ".join(text.split())))
    return facts


def _sqlite_table(session: Session, name: str, text: str) -> list[str]:
    columns = [f"column {row[1:]}" for row in session.execute(sa.text(f"PRAGMA table_info({name})"))]
    keys = [f"foreign key {row[2:]}" for row in session.execute(sa.text(f"PRAGMA foreign_key_list({name})"))]
    named = [" ".join(clause.split()) for clause in re.findall(r"CONSTRAINT \w+ (?:CHECK|UNIQUE) \([^)]*\)+", text)]
    names = [f"constraint {constraint}" for constraint in re.findall(r"CONSTRAINT (\w+)", text)]
    return columns + keys + named + names
