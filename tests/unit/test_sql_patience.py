"""What a run calls waits for a database that is away: a call that does not would fail its job in the first outage."""

from __future__ import annotations

import inspect

import sql

IMPATIENT = {
    "beat": "the next heartbeat comes soon enough",
    "claim_files": "asks by the thousand, and each thousand is patient",
    "health": "a monitor asks again by itself",
    "is_approved": "made of a patient one",
    "migrate": "a person waits for it",
    "revision": "asked before a run begins",
}
"""With the reason."""


def on_a_database(function: object) -> bool:
    if not inspect.isfunction(function):
        return False
    first = next(iter(inspect.signature(function).parameters.values()), None)
    return first is not None and first.annotation == "Database"


def test_every_function_waits_but_for_those_that_say_why_not() -> None:
    functions = {name: getattr(sql, name) for name in sql.__all__ if on_a_database(getattr(sql, name))}
    assert len(functions) > 50
    assert {name for name, function in functions.items() if not hasattr(function, "__wrapped__")} == set(IMPATIENT)
