"""Alembic's environment and the revisions. Run by `sql.revisions`; a revision imports nothing but `sql.base`."""
