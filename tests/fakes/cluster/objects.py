"""What the API server keeps: objects by kind, namespace and name, with a version for each change and a log of them."""

from __future__ import annotations

import copy
import json
import random
import threading
import uuid
from bisect import bisect_right
from collections.abc import Callable
from typing import Any

from tests.fakes.cluster.clock import Clock, stamp

Json = dict[str, Any]
Place = tuple[str, str]
"""(plural, namespace); the namespace is empty for what belongs to the whole cluster."""

KEPT_CHANGES = 1000
"""How far back a watch can begin, at least."""


class RefusedError(Exception):
    """An answer that is an error, as the API server words it."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason

    def status(self) -> Json:
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": str(self),
            "reason": self.reason, "code": self.code,
        }  # fmt: skip


class Objects:
    """All of them. `changed` is notified at each change; its lock guards everything."""

    def __init__(self, clock: Clock) -> None:
        self.changed = threading.Condition(threading.RLock())
        self._clock = clock
        self._version = 1000
        self._oldest = 1000
        self._items: dict[Place, dict[str, Json]] = {}
        self._log: list[tuple[int, Place, str, Json]] = []
        self._random = random.Random(1)

    def create(self, place: Place, body: Json) -> Json:
        with self.changed:
            metadata = body.setdefault("metadata", {})
            if "name" not in metadata and "generateName" in metadata:
                letters = "bcdfghjklmnpqrstvwxz2456789"
                metadata["name"] = metadata["generateName"] + "".join(self._random.choices(letters, k=5))
            name = metadata.get("name")
            if not name:
                raise RefusedError(422, "Invalid", "metadata.name: Required value: name or generateName is required")
            if name in self._items.get(place, {}):
                raise RefusedError(409, "AlreadyExists", f'{place[0]} "{name}" already exists')
            metadata["uid"] = str(uuid.uuid4())
            metadata["creationTimestamp"] = stamp(self._clock.now())
            if place[1]:
                metadata["namespace"] = place[1]
            self._items.setdefault(place, {})[name] = body
            self._record(place, "ADDED", body)
            return body

    def get(self, place: Place, name: str) -> Json:
        with self.changed:
            found = self._items.get(place, {}).get(name)
            if found is None:
                raise RefusedError(404, "NotFound", f'{place[0]} "{name}" not found')
            return found

    def change(self, place: Place, name: str, act: Callable[[Json], None]) -> Json:
        """Let `act` change the object in place; recorded only when it did."""
        with self.changed:
            body = self.get(place, name)
            before = json.dumps(body, sort_keys=True)
            act(body)
            if json.dumps(body, sort_keys=True) != before:
                self._record(place, "MODIFIED", body)
            return body

    def remove(self, place: Place, name: str) -> None:
        with self.changed:
            body = self._items.get(place, {}).pop(name, None)
            if body is not None:
                self._record(place, "DELETED", body)

    def all(self, place: Place) -> list[Json]:
        with self.changed:
            return list(self._items.get(place, {}).values())

    def places(self, plural: str) -> list[Place]:
        with self.changed:
            return [place for place in self._items if place[0] == plural]

    def snapshot(self, place: Place) -> tuple[list[Json], int]:
        """Copies of all, and the version that they are of."""
        with self.changed:
            return copy.deepcopy(self.all(place)), self._version

    def since(self, place: Place, version: int) -> tuple[list[tuple[str, Json]], int]:
        """Changes after a version, and the version up to which these are all.

        Raises:
            RefusedError: 410, when the log does not reach back so far.
        """
        with self.changed:
            if version < self._oldest:
                raise RefusedError(410, "Expired", f"too old resource version: {version} ({self._oldest})")
            first = bisect_right(self._log, version, key=lambda entry: entry[0])
            return [(kind, body) for _, where, kind, body in self._log[first:] if where == place], self._version

    def version(self) -> int:
        with self.changed:
            return self._version

    def forget(self) -> None:
        """Compact: watches that ask for anything older are told 410."""
        with self.changed:
            self._version += 1
            self._oldest = self._version
            self._log.clear()
            self.changed.notify_all()

    def _record(self, place: Place, kind: str, body: Json) -> None:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        self._log.append((self._version, place, kind, copy.deepcopy(body)))
        if len(self._log) > 2 * KEPT_CHANGES:
            del self._log[:KEPT_CHANGES]
            self._oldest = self._log[0][0]
        self.changed.notify_all()


def matches(body: Json, labels: str, fields: str) -> bool:
    """Whether an object is meant by a label selector (`a=b,c!=d,e,f in (g,h)`) and a field selector (`a.b=c`)."""
    own = body["metadata"].get("labels") or {}
    return all(_label(own, term) for term in _terms(labels)) and all(_field(body, term) for term in _terms(fields))


def _terms(selector: str) -> list[str]:
    terms, depth, word = [], 0, ""
    for letter in selector:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            terms.append(word.strip())
            word = ""
        else:
            word += letter
    return [term for term in (*terms, word.strip()) if term]


def _label(own: Json, term: str) -> bool:
    if " in " in term:
        key, _, values = term.partition(" in ")
        return own.get(key.strip()) in [value.strip() for value in values.strip().strip("()").split(",")]
    if "!=" in term:
        key, _, value = term.partition("!=")
        return bool(own.get(key.strip()) != value.strip())
    if "=" in term:
        key, _, value = term.replace("==", "=").partition("=")
        return bool(own.get(key.strip()) == value.strip())
    return term in own


def _field(body: Json, term: str) -> bool:
    path, _, value = term.partition("=")
    found: Any = body
    for part in path.strip().split("."):
        found = found.get(part, "") if isinstance(found, dict) else ""
    return str(found) == value.strip()
