"""The cluster's API server: the few requests that are made of it, and foreign errors translated once.

The official client brings the connection (kubeconfig, service account, TLS) and checks what is created against its
models. Answers are read as JSON: of a pod a dozen fields are wanted, thousands of times.
"""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import urllib3.exceptions

from edits.errors import ClusterError, ClusterSetupError, SamaflowError
from edits.settings import Settings

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

PAUSES = (0.5, 1.5, 4.0, 8.0)
"""Seconds before each further attempt at what the server did not answer; each is varied by half."""
ANSWER_SECONDS = 30.0
WATCH_SECONDS = 240
"""How long one watch may last; the server ends it then, and the next one begins where it ended."""
LEAST_VERSION = (1, 29)
"""Kubernetes 1.29 counts back-off by index in all clusters that are kept up."""

Json = dict[str, Any]
T = TypeVar("T")


class ExpiredError(Exception):
    """410: the server does not reach back so far; list again."""


class ExistsError(Exception):
    """409: there is an object of that name."""


@dataclass(frozen=True)
class Listing:
    """Objects of one kind, and the version that the list is of."""

    items: tuple[Json, ...]
    version: str


@dataclass(frozen=True)
class Change:
    """One event of a watch: `ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`."""

    kind: str
    body: Json

    @property
    def version(self) -> str:
        return str(self.body["metadata"]["resourceVersion"])


class Cluster:
    """One namespace of one cluster.

    Every method raises:
        ClusterError: the server did not answer, or not now (429, 5xx), after the pauses.
        ClusterSetupError: it refuses: no right, no such namespace, an object that it does not accept.
    """

    def __init__(self, client: ApiClient, namespace: str, pauses: Sequence[float] = PAUSES) -> None:
        self.namespace = namespace
        self._client = client
        self._pauses = tuple(pauses)

    def with_pauses(self, pauses: Sequence[float]) -> Cluster:
        """The same cluster with more patience, or with less."""
        return Cluster(self._client, self.namespace, pauses)

    def close(self) -> None:
        self._client.rest_client.close()

    def version(self) -> tuple[int, int]:
        """Major and minor version of the server."""
        facts = self._json("GET", "/version")
        return int(facts["major"]), int("".join(filter(str.isdigit, facts["minor"])))

    def require_version(self) -> None:
        """Raises ClusterSetupError for a Kubernetes that is too old."""
        found = self.version()
        if found < LEAST_VERSION:
            raise ClusterSetupError(
                f"the cluster runs Kubernetes {found[0]}.{found[1]}: samaflow needs {LEAST_VERSION[0]}."
                f"{LEAST_VERSION[1]} or newer, for Jobs that count failures by index. Upgrade the cluster."
            )

    # -- looking, for the doctor

    def may(self, verb: str, group: str, resource: str) -> bool:
        """Whether the server would let us, in this namespace; `resource` with its subresource, as `pods/log`."""
        name, _, sub = resource.partition("/")
        asked = {"namespace": self.namespace, "verb": verb, "group": group, "resource": name, "subresource": sub}
        review = {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }  # fmt: skip
        answer = self._json("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)
        return bool(answer["status"]["allowed"])

    def nodes(self) -> tuple[Json, ...]:
        return self._list("/api/v1/nodes").items

    def quotas(self) -> tuple[Json, ...]:
        return self._list(f"/api/v1/namespaces/{self.namespace}/resourcequotas").items

    def claim(self, name: str) -> Json | None:
        """A volume claim, or None when there is none of that name."""
        try:
            return self._json("GET", f"/api/v1/namespaces/{self.namespace}/persistentvolumeclaims/{name}")
        except _AbsentError:
            return None

    # -- Jobs

    def job(self, name: str) -> Json | None:
        """A Job, or None when there is none of that name."""
        try:
            return self._json("GET", self._jobs(name))
        except _AbsentError:
            return None

    def create_job(self, body: Json, *, dry_run: bool = False) -> Json:
        """Make a Job, or only have the server check it.

        Raises:
            ExistsError: there is one of that name.
        """
        _check(body)
        return self._json("POST", self._jobs(), {"dryRun": "All"} if dry_run else None, body)

    def delete_job(self, name: str, uid: str) -> None:
        """Delete a Job and its pods; one that is gone, or another one of that name, is left alone."""
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        try:
            self._json("DELETE", self._jobs(name), body=options)
        except (_AbsentError, ExistsError):
            return

    def jobs(self, selector: str) -> Listing:
        return self._list(self._jobs(), labelSelector=selector)

    def pods(self, selector: str) -> Listing:
        return self._list(self._pods(), labelSelector=selector)

    def pod_log(self, name: str, lines: int = 20) -> str:
        """The last lines that a pod printed; empty when it is gone."""
        try:
            return self._read("GET", f"{self._pods(name)}/log", {"tailLines": lines}).decode("utf-8", "replace")
        except _AbsentError:
            return ""

    def warnings_about(self, name: str) -> list[str]:
        """Messages of the warnings that the cluster recorded about an object, the newest last."""
        path = f"/api/v1/namespaces/{self.namespace}/events"
        found = self._list(path, fieldSelector=f"involvedObject.name={name},type=Warning").items
        ordered = sorted(found, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
        return [str(event.get("message", "")) for event in ordered]

    def watch_jobs(self, selector: str, version: str) -> Iterator[Change]:
        return self._watch(self._jobs(), selector, version)

    def watch_pods(self, selector: str, version: str) -> Iterator[Change]:
        return self._watch(self._pods(), selector, version)

    def _jobs(self, name: str = "") -> str:
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs" + (f"/{name}" if name else "")

    def _pods(self, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods" + (f"/{name}" if name else "")

    # -- requests

    def _list(self, path: str, **query: str) -> Listing:
        whole = self._json("GET", path, query)
        return Listing(tuple(whole.get("items") or ()), str(whole["metadata"]["resourceVersion"]))

    def _watch(self, path: str, selector: str, version: str) -> Iterator[Change]:
        """Changes after `version`, until the server ends the watch.

        Raises:
            ExpiredError: the server does not reach back so far.
        """
        query = {
            "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": WATCH_SECONDS,
            "labelSelector": selector, "resourceVersion": version,
        }  # fmt: skip
        where = f"cannot watch {path}"
        try:
            answer = self._call("GET", path, query, None, (10.0, WATCH_SECONDS + 15.0))
            try:
                if answer.status != 200:
                    raise _meaning(answer.status, answer.read(), "watch", path)
                for line in _lines(answer.stream(amt=None)):
                    yield _change(line, path)
            finally:
                answer.close()
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise ClusterError(f"{where}: {error}") from error

    def _json(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Json | None = None) -> Json:
        whole: Json = json.loads(self._read(method, path, query, body))
        return whole

    def _read(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Json | None = None) -> bytes:
        def once() -> bytes:
            try:
                answer = self._call(method, path, query or {}, body, ANSWER_SECONDS)
                data: bytes = answer.read()
            except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
                raise ClusterError(f"the cluster's API server does not answer: {error}") from error
            if not 200 <= answer.status < 300:
                raise _meaning(answer.status, data, _VERBS[method], path)
            return data

        return self._attempt(once)

    def _call(
        self, method: str, path: str, query: Mapping[str, Any], body: Json | None, seconds: float | tuple[float, float]
    ) -> Any:
        """The raw answer, its body unread."""
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body is not None else {})
        request = self._client.param_serialize(
            method=method, resource_path=path, query_params=list(query.items()), header_params=headers, body=body,
            auth_settings=["BearerToken"],
        )  # fmt: skip
        return self._client.call_api(*request, _request_timeout=seconds).response

    def _attempt(self, call: Callable[[], T]) -> T:
        for pause in self._pauses:
            try:
                return call()
            except ClusterError:
                time.sleep(pause * random.uniform(0.5, 1.5))
        return call()


class _AbsentError(Exception):
    """404: there is no such object."""


def _check(body: Json) -> None:
    """Hold a Job to the client's own model of it before it travels."""
    from kubernetes.client import V1Job
    from pydantic import ValidationError

    try:
        V1Job.from_dict(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ClusterSetupError(f"the Job template makes no valid Job: {where}: {first['msg']}") from error


_VERBS = {"GET": "get", "POST": "create", "DELETE": "delete"}


def _meaning(status: int, data: bytes, verb: str, path: str) -> Exception:
    """What an answer that is an error means, in the project's own tree."""
    message = _message(data)
    verb, resource = _asked(verb, path)
    if status == 404 and "namespaces" in message:
        return ClusterSetupError(f"{message}: create it (kubectl apply -k k8s/base), or set [kubernetes] namespace")
    if status == 404:
        return _AbsentError(message)
    if status == 409:
        return ExistsError(message)
    if status == 410:
        return ExpiredError(message)
    if status in (401, 403):
        remedy = "grant it to the service account (k8s/base holds the role), or choose another [kubernetes] context"
        if "quota" in message:
            remedy = "raise the quota of the namespace, or ask for less"
        return ClusterSetupError(f"the cluster refuses to {verb} {resource}: {message}; {remedy}")
    if status == 429 or status >= 500:
        return ClusterError(f"the cluster's API server cannot {verb} {resource} now ({status}): {message}")
    return ClusterSetupError(f"the cluster does not accept what was sent to {verb} {resource} ({status}): {message}")


def _asked(verb: str, path: str) -> tuple[str, str]:
    """Verb and resource as a role names them."""
    *_, before, last = ["", *path.strip("/").split("/")]
    if last in ("jobs", "pods", "events", "version"):
        return ("list" if verb == "get" and last != "version" else verb), last
    return verb, "pods/log" if last == "log" else before


def _message(data: bytes) -> str:
    try:
        whole = json.loads(data)
        return str(whole["message"])
    except (ValueError, TypeError, KeyError):
        return data[:200].decode("utf-8", "replace")


def _lines(parts: Iterator[bytes]) -> Iterator[bytes]:
    kept = b""
    for part in parts:
        *whole, kept = (kept + part).split(b"\n")
        yield from filter(None, whole)


def _change(line: bytes, path: str) -> Change:
    try:
        event = json.loads(line)
    except ValueError as error:
        raise ClusterError(f"cannot watch {path}: the connection broke in the middle of an event") from error
    if event["type"] == "ERROR":
        status = event["object"]
        raise _meaning(int(status.get("code") or 500), json.dumps(status).encode(), "watch", path)
    return Change(event["type"], event["object"])


# -- where the cluster is ---------------------------------------------------------------------------------------------


def connect(settings: Settings) -> Cluster:
    """The cluster of the kubeconfig, or the one that this process runs in.

    Raises:
        ClusterSetupError: neither is there, or the kubeconfig cannot be used.
    """
    import yaml
    from kubernetes import client, config

    configuration = client.Configuration()
    try:
        _load(config, configuration, settings.kubernetes_context)
    except (config.ConfigException, OSError, yaml.YAMLError, TypeError, AttributeError) as error:  # of a broken file
        why = " ".join(str(error).split()).rstrip(".")
        raise ClusterSetupError(
            f"no cluster to talk to: {why}. Set KUBECONFIG or [kubernetes] context, or run inside a cluster."
        ) from error
    configuration.retries = False  # attempts are counted here, not also there
    return Cluster(client.ApiClient(configuration), settings.kubernetes_namespace)


def _load(config: Any, configuration: Any, context: str) -> None:
    """The named context; without one, inside a pod its own service account counts, elsewhere the kubeconfig."""
    if context:
        config.load_kube_config(context=context, client_configuration=configuration)
        return
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        config.load_kube_config(client_configuration=configuration)


def answers(cluster: Cluster) -> str:
    """Empty when the server answers, else why not; never raises."""
    try:
        cluster.with_pauses(()).version()
    except SamaflowError as error:
        return str(error)
    return ""
