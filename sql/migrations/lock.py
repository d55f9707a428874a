"""The key of the advisory lock that lets one migration run at a time on PostgreSQL."""

LOCK = 7_262_520_114
