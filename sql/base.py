"""What every table shares: constraint names, UTC time by the database's clock, enums as checked strings.

Knows the two databases' dialects, none of the tables. Migrations may import from here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.compiler import SQLCompiler

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names of constraints and indexes: a migration can only change what it can name."""


class Base(DeclarativeBase):
    metadata = sa.MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {float: sa.Double()}


class UtcDateTime(sa.TypeDecorator[datetime]):
    """An aware datetime in UTC. SQLite keeps it as text with six decimals, so that text order is time order."""

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        return dialect.type_descriptor(sa.DateTime(timezone=dialect.name != "sqlite"))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"the time {value} has no zone: pass an aware datetime")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class utc_now(sa.sql.functions.FunctionElement[datetime]):  # noqa: N801 - read like `func.now`
    """The database's clock at this very statement (not at the transaction's start), in UTC."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(utc_now, "sqlite")
def _sqlite_now(element: utc_now, compiler: SQLCompiler, **options: Any) -> str:
    return "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"


@compiles(utc_now, "postgresql")
def _postgresql_now(element: utc_now, compiler: SQLCompiler, **options: Any) -> str:
    return "clock_timestamp()"


BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A counted primary key: 64 bits on both (SQLite's INTEGER key is)."""

Json = sa.JSON().with_variant(JSONB(), "postgresql")


def checked(words: type[StrEnum], name: str = "state") -> sa.Enum:
    """A string column that holds only the values of `words`, by a CHECK constraint: adding a word is a migration."""
    return sa.Enum(
        words,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=24,
        values_callable=lambda members: [str(member.value) for member in members],
    )
