"""Work in a thread ahead: order, errors and an early end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from edits.media.ahead import Ahead


def test_items_come_in_order() -> None:
    with Ahead(iter(range(100))) as items:
        assert list(items) == list(range(100))


def test_an_error_of_the_thread_is_raised_where_the_item_would_have_been() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("second")

    with Ahead(broken()) as items:
        assert next(items) == 1
        with pytest.raises(KeyError, match="second"):
            next(items)


def test_leaving_early_closes_the_iterator_and_ends_the_thread() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            yield from iter(int, 1)
        finally:
            closed.set()

    before = threading.active_count()
    with Ahead(endless()) as items:
        next(items)
    assert closed.is_set()
    assert threading.active_count() == before


def test_one_thread_may_feed_another_that_is_left_early() -> None:
    with Ahead(iter(int, 1)) as inner, Ahead(map(str, inner)) as outer:
        assert next(outer) == "0"
