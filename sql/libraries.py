"""Files of libraries under a style: what was seen of each, which job it became, which run works on it now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from edits.errors import is_transient
from edits.library import LibraryFile
from edits.survey import Known
from sql.base import utc_now
from sql.edit_jobs import batches
from sql.inserts import insert_new
from sql.models import Holder, Job, LibraryItem
from sql.owners import dead_among, seen
from sql.patience import patient
from sql.records import Owner
from sql.session import Database

CLAIM = 1000
"""Files taken on in one transaction: others get their turn in between."""

_COLUMNS = (
    LibraryItem.uri,
    LibraryItem.size,
    LibraryItem.mark,
    LibraryItem.job_id,
    LibraryItem.category,
    LibraryItem.message,
    LibraryItem.owner_id,
    Job.state,
    Job.source_sha256,
    Job.failure_category,
    Job.failure_message,
)


@patient
def library_items(db: Database, library_id: str, owner: Owner) -> dict[str, Known]:
    """Everything recorded of the library, by URI; `held` by a live owner other than `owner`."""
    query = sa.select(*_COLUMNS).outerjoin(Job, Job.job_id == LibraryItem.job_id)
    with db.read() as session:
        alive = _alive(session) - {owner.owner_id}
        rows = session.execute(query.where(LibraryItem.library_id == library_id))
        return {row.uri: _known(row, held=row.owner_id in alive) for row in rows}


def _known(row: Any, *, held: bool) -> Known:
    return Known(
        size=row.size,
        mark=row.mark,
        sha256=row.source_sha256 or "",
        job_id=row.job_id or "",
        state=row.state,
        message=row.failure_message or row.message,
        transient=is_transient(row.failure_category or row.category),
        held=held,
    )


def claim_files(db: Database, library_id: str, files: Sequence[LibraryFile], owner: Owner) -> set[str]:
    """Take files on for `owner`; returns the URIs that it got: those that no other live owner works on."""
    claimed: set[str] = set()
    for first in range(0, len(files), CLAIM):
        claimed |= _claim_some(db, library_id, files[first : first + CLAIM], owner)
    return claimed


@patient
def _claim_some(db: Database, library_id: str, files: Sequence[LibraryFile], owner: Owner) -> set[str]:
    with db.write() as session:
        seen(session, owner)
        return _claim(session, library_id, files, owner)


def _claim(session: Session, library_id: str, files: Sequence[LibraryFile], owner: Owner) -> set[str]:
    by_uri = {file.uri: file for file in files}
    facts = [{"library_id": library_id, "uri": f.uri, "size": f.size, "mark": f.mark} for f in files]
    insert_new(session, LibraryItem, facts)
    alive = _alive(session) - {owner.owner_id}
    claimed = set()
    for row in _rows(session, library_id, by_uri):
        if row.owner_id in alive:
            continue
        row.size, row.mark = by_uri[row.uri].size, by_uri[row.uri].mark
        row.owner_id, row.job_id, row.category, row.message = owner.owner_id, None, "", ""
        row.updated_at = utc_now()
        claimed.add(row.uri)
    return claimed


@patient
def settle_file(
    db: Database, library_id: str, uri: str, owner: Owner, job_id: str = "", category: str = "", message: str = ""
) -> None:
    """Let go of a file that `owner` took on: with the job that it became, or with why it became none; with neither, it
    is left for the next run. A file that another owner has taken over stays with that one."""
    with db.write() as session:
        for row in _rows(session, library_id, [uri]):
            if row.owner_id == owner.owner_id:
                row.owner_id, row.job_id = None, job_id or None
                row.category, row.message, row.updated_at = category, message, utc_now()


@patient
def touch_files(db: Database, library_id: str, files: Sequence[LibraryFile]) -> None:
    """The same bytes with another time: remember the time."""
    by_uri = {file.uri: file for file in files}
    with db.write() as session:
        for row in _rows(session, library_id, by_uri):
            row.mark = by_uri[row.uri].mark


def _rows(session: Session, library_id: str, uris: Iterable[str]) -> Iterable[LibraryItem]:
    for batch in batches(uris):
        query = sa.select(LibraryItem).where(LibraryItem.library_id == library_id, LibraryItem.uri.in_(batch))
        yield from session.scalars(query.order_by(LibraryItem.uri).with_for_update())


def _alive(session: Session) -> set[str]:
    """Owners that hold library files and live."""
    holding = sa.select(LibraryItem.owner_id).where(LibraryItem.owner_id.is_not(None)).distinct()
    holders = list(session.scalars(sa.select(Holder).where(Holder.owner_id.in_(holding))))
    return {holder.owner_id for holder in holders} - dead_among(session, holders)
