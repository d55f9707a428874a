"""What Kubernetes does with Jobs and pods: the Job controller, the scheduler and the kubelets, one step at a time.

Kept to: Indexed Jobs with backoffLimitPerIndex, podFailurePolicy, podReplacementPolicy, deadlines of pods and Jobs,
TTL, deletion in the back- and foreground, nodes with GPUs, labels and taints, and a quota on pods.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.fakes.cluster.clock import Clock, seconds_of, stamp
from tests.fakes.cluster.objects import Json, Objects, Place

INDEX = "batch.kubernetes.io/job-completion-index"
JOB = "batch.kubernetes.io/job-name"
IMAGE = "registry.example.com/samaflow-gpu@sha256:" + "ab" * 32
"""What its nodes resolve every image to."""


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    exit_code: int
    reason: str = "Error"


class Backend(Protocol):
    """What runs or plays the containers; each is known by its pod's uid."""

    def start(self, pod: Json) -> None: ...
    def poll(self, uid: str) -> Ended | None: ...
    def terminate(self, uid: str) -> None: ...
    def kill(self, uid: str, reason: str = "Error") -> None: ...
    def log(self, uid: str) -> str: ...


@dataclass
class Node:
    """A machine of the cluster."""

    name: str
    gpus: int = 8
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[str, ...] = ()
    """Keys of NoSchedule taints."""


@dataclass
class JobFacts:
    """What the controller remembers of a Job."""

    succeeded: set[int] = field(default_factory=set)
    failed: set[int] = field(default_factory=set)
    failures: Counter[int] = field(default_factory=Counter)
    counted: set[str] = field(default_factory=set)
    """uids of pods whose end is taken into account."""
    not_before: dict[int, float] = field(default_factory=dict)
    """Back-off: when an index may get its next pod."""
    pods: int = 0


class Controller:
    """Call `step` as time passes."""

    def __init__(self, objects: Objects, clock: Clock, backend: Backend, seed: int = 0) -> None:
        self.objects = objects
        self.clock = clock
        self.backend = backend
        self.nodes = [Node("node-a"), Node("node-b")]
        self.start_seconds = 0.0
        """From having a node to running."""
        self.backoff_seconds = 10.0
        self.max_pods: int | None = None
        """A quota; pods above it are not made."""
        self.image_fault: Callable[[Json], str] = lambda pod: ""
        """The reason for which a pod's container waits, as long as it is not empty."""
        self.may_schedule: Callable[[], bool] = lambda: True
        self.max_seen = 0
        """Most pods that ran at once."""
        self._facts: dict[str, JobFacts] = {}
        self._since: dict[str, float] = {}
        """When a pod got its node, by uid."""
        self._running: set[str] = set()
        self._kill_at: dict[str, float] = {}
        self._causes: dict[str, tuple[str, str]] = {}
        """(reason, message) that a pod's status will carry when it has ended, by uid."""
        self._random = random.Random(seed)

    def step(self) -> None:
        """One round of everything that is due."""
        with self.objects.changed:
            for place in self.objects.places("pods"):
                jobs = {job["metadata"]["uid"] for job in self.objects.all(("jobs", place[1]))}
                for pod in self.objects.all(place):
                    self._kubelet(place, pod, jobs)
            for place in self.objects.places("jobs"):
                owned = self._by_owner(("pods", place[1]))
                for job in self.objects.all(place):
                    self._control(place, job, owned[job["metadata"]["uid"]])
            self.max_seen = max(self.max_seen, len(self._running))

    # -- what people and clusters do to pods

    def pods(self, job: str = "", *, running: bool = False) -> list[Json]:
        """Pods that have not ended, of one Job or all."""
        found = [pod for place in self.objects.places("pods") for pod in self.objects.all(place)]
        found = [pod for pod in found if not _over(pod) and (not job or pod["metadata"]["labels"].get(JOB) == job)]
        return [pod for pod in found if pod["metadata"]["uid"] in self._running] if running else found

    def preempt(self, pod: Json, grace: float = 15.0, reason: str = "PreemptionByScheduler") -> None:
        """Take the pod's node away: the condition first, then SIGTERM, after `grace` SIGKILL."""
        with self.objects.changed:
            self._change(pod, lambda body: _condition(body, "DisruptionTarget", "True", reason, self.clock.now()))
            self.delete_pod(pod, grace)

    def delete_pod(self, pod: Json, grace: float = 30.0) -> None:
        """As `kubectl delete pod`."""
        with self.objects.changed:
            uid = pod["metadata"]["uid"]
            if _over(pod) or "deletionTimestamp" in pod["metadata"]:
                return
            now = self.clock.now()
            self._change(pod, lambda body: body["metadata"].update(deletionTimestamp=stamp(now)))
            self._kill_at[uid] = now + grace
            if uid in self._running:
                self.backend.terminate(uid)

    def kill(self, pod: Json, reason: str = "Error") -> None:
        """kill -9, or with the reason OOMKilled the kernel for want of memory."""
        with self.objects.changed:
            if pod["metadata"]["uid"] in self._running:
                self.backend.kill(pod["metadata"]["uid"], reason)

    def duplicate(self, pod: Json) -> None:
        """Start a second pod for the same index, as a controller with a stale cache does."""
        with self.objects.changed:
            place = ("jobs", pod["metadata"]["namespace"])
            job = self.objects.get(place, pod["metadata"]["labels"][JOB])
            self._make_pod(job, int(pod["metadata"]["labels"][INDEX]))

    def delete_job(self, place: Place, job: Json, options: Json) -> bool:
        """What the API server's deletion of a Job sets going; True when the Job stays until its pods are gone."""
        foreground = options.get("propagationPolicy") == "Foreground"
        for pod in self._by_owner(("pods", place[1]))[job["metadata"]["uid"]]:
            if _over(pod):
                self.objects.remove(("pods", place[1]), pod["metadata"]["name"])
            else:
                self.delete_pod(pod)
        if not foreground:
            return False
        now = stamp(self.clock.now())
        name = job["metadata"]["name"]
        self.objects.change(place, name, lambda body: body["metadata"].update(deletionTimestamp=now))
        return True

    # -- Jobs

    def _control(self, place: Place, job: Json, pods: list[Json]) -> None:
        facts = self._facts.setdefault(job["metadata"]["uid"], JobFacts())
        pods = [pod for pod in pods if self._account(job, facts, pod)]
        active = [pod for pod in pods if not _over(pod)]
        if "deletionTimestamp" in job["metadata"]:
            if not active:
                self.objects.remove(place, job["metadata"]["name"])
            return
        if finished(job):
            self._expire(place, job, pods)
            return
        self._conclude(place, job, facts, active)
        if not finished(job) and not job["spec"].get("suspend"):
            self._replace(job, facts, active)
        self._publish(place, job, facts, active)

    def _by_owner(self, place: Place) -> dict[str, list[Json]]:
        """The pods of each owner, by its uid."""
        found: dict[str, list[Json]] = defaultdict(list)
        for pod in self.objects.all(place):
            for owner in pod["metadata"].get("ownerReferences") or ():
                found[owner["uid"]].append(pod)
        return found

    def _account(self, job: Json, facts: JobFacts, pod: Json) -> bool:
        """Take an ended pod into account once, and say whether it is still there: a deleted one vanishes with that."""
        uid = pod["metadata"]["uid"]
        if not _over(pod):
            return True
        if uid not in facts.counted:
            facts.counted.add(uid)
            index = int(pod["metadata"]["labels"][INDEX])
            if pod["status"]["phase"] == "Succeeded":
                facts.succeeded.add(index)
            else:
                self._count(job, facts, pod, index)
        if "deletionTimestamp" not in pod["metadata"]:
            return True
        self.objects.remove(("pods", pod["metadata"]["namespace"]), pod["metadata"]["name"])
        return False

    def _count(self, job: Json, facts: JobFacts, pod: Json, index: int) -> None:
        action = _policy_action(job, pod)
        if action == "FailIndex":
            facts.failed.add(index)
        elif action != "Ignore":
            facts.failures[index] += 1
            delay = self.backoff_seconds * 2 ** (facts.failures[index] - 1)
            facts.not_before[index] = self.clock.now() + delay
            if facts.failures[index] > job["spec"].get("backoffLimitPerIndex", 6):
                facts.failed.add(index)

    def _conclude(self, place: Place, job: Json, facts: JobFacts, active: list[Json]) -> None:
        spec, now = job["spec"], self.clock.now()
        wanted = set(range(spec["completions"]))
        limit = spec.get("activeDeadlineSeconds")
        if limit and now - seconds_of(job["metadata"]["creationTimestamp"]) > limit:
            self._finish(place, job, active, "Failed", "DeadlineExceeded")
        elif wanted <= facts.succeeded:
            self._finish(place, job, active, "Complete", "CompletionsReached")
        elif wanted <= facts.succeeded | facts.failed and not active:
            self._finish(place, job, active, "Failed", "FailedIndexes")

    def _finish(self, place: Place, job: Json, active: list[Json], kind: str, reason: str) -> None:
        for pod in active:
            self.delete_pod(pod)
        now = self.clock.now()

        def act(body: Json) -> None:
            _condition(body, kind, "True", reason, now)
            if kind == "Complete":
                body["status"]["completionTime"] = stamp(now)

        self.objects.change(place, job["metadata"]["name"], act)

    def _expire(self, place: Place, job: Json, pods: list[Json]) -> None:
        ttl = job["spec"].get("ttlSecondsAfterFinished")
        ended = max(seconds_of(c["lastTransitionTime"]) for c in job["status"]["conditions"])
        if ttl is not None and self.clock.now() - ended > ttl and all(_over(pod) for pod in pods):
            for pod in pods:
                self.objects.remove(("pods", place[1]), pod["metadata"]["name"])
            self.objects.remove(place, job["metadata"]["name"])

    def _replace(self, job: Json, facts: JobFacts, active: list[Json]) -> None:
        room = job["spec"]["parallelism"] - len(active)
        busy = {int(pod["metadata"]["labels"][INDEX]) for pod in active}
        for index in range(job["spec"]["completions"]):
            if room <= 0:
                return
            if index in busy or index in facts.succeeded or index in facts.failed:
                continue
            if facts.not_before.get(index, 0.0) > self.clock.now():
                continue
            if self.max_pods is not None and len(self.pods()) >= self.max_pods:
                self._event(job, "FailedCreate", "Error creating: pods is forbidden: exceeded quota: samaflow")
                return
            self._make_pod(job, index)
            facts.pods += 1
            room -= 1

    def _make_pod(self, job: Json, index: int) -> None:
        template, namespace = job["spec"]["template"], job["metadata"]["namespace"]
        name = job["metadata"]["name"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
        labels = {**(template["metadata"].get("labels") or {}), JOB: name, "job-name": name, INDEX: str(index)}
        metadata: Json = {
            "generateName": f"{name}-{index}-",
            "labels": labels,
            "annotations": {INDEX: str(index)},
            "ownerReferences": [owner],
        }
        spec = {**template["spec"], "nodeName": ""}
        body = {"metadata": metadata, "spec": spec, "status": {"phase": "Pending", "conditions": []}}
        self.objects.create(("pods", namespace), body)

    def _publish(self, place: Place, job: Json, facts: JobFacts, active: list[Json]) -> None:
        status = job.get("status") or {}
        facts_now: Json = {
            "active": 0 if finished(job) else len(active),
            "succeeded": len(facts.succeeded),
            "failed": sum(facts.failures.values()) + len(facts.failed),
            "completedIndexes": ",".join(map(str, sorted(facts.succeeded))),
            "failedIndexes": ",".join(map(str, sorted(facts.failed))),
            "startTime": status.get("startTime") or stamp(self.clock.now()),
        }
        if facts_now.items() <= status.items():
            return
        name = job["metadata"]["name"]
        self.objects.change(place, name, lambda body: body.setdefault("status", {}).update(facts_now))

    def _event(self, about: Json, reason: str, message: str) -> None:
        namespace = about["metadata"]["namespace"]
        name = f"{about['metadata']['name']}.{reason.lower()}"
        kind = "Job" if "completions" in about["spec"] else "Pod"
        involved = {"kind": kind, "name": about["metadata"]["name"], "uid": about["metadata"]["uid"]}
        known = {event["metadata"]["name"] for event in self.objects.all(("events", namespace))}
        now = stamp(self.clock.now())
        if name in known:
            self.objects.change(("events", namespace), name, lambda body: body.update(lastTimestamp=now))
            return
        body = {
            "metadata": {"name": name}, "involvedObject": involved, "reason": reason, "message": message,
            "type": "Warning", "lastTimestamp": now, "count": 1,
        }  # fmt: skip
        self.objects.create(("events", namespace), body)

    # -- pods

    def _kubelet(self, place: Place, pod: Json, jobs: set[str]) -> None:
        """`jobs` are the uids of those that are there."""
        uid = pod["metadata"]["uid"]
        if _over(pod):
            owned = pod["metadata"].get("ownerReferences")
            alone = not owned or all(owner["uid"] not in jobs for owner in owned)
            if alone and ("deletionTimestamp" in pod["metadata"] or owned):
                self.objects.remove(place, pod["metadata"]["name"])
            return
        if pod["spec"]["nodeName"] == "" and "deletionTimestamp" not in pod["metadata"]:
            self._schedule(pod)
        if uid in self._running:
            self._watch_container(pod)
        elif "deletionTimestamp" in pod["metadata"]:
            self._change(pod, lambda body: body["status"].update(phase="Failed", containerStatuses=[]))
        elif pod["spec"]["nodeName"]:
            self._start(pod)

    def _schedule(self, pod: Json) -> None:
        blocked = Counter(self._why_not(pod, node) for node in self.nodes)
        fit = [node for node in self.nodes if not self._why_not(pod, node)]
        if not fit or not self.may_schedule():
            reasons = ", ".join(f"{count} {why}" for why, count in sorted(blocked.items()) if why)
            message = f"0/{len(self.nodes)} nodes are available: {reasons or '1 Insufficient nvidia.com/gpu'}."
            now = self.clock.now()
            self._change(pod, lambda body: _condition(body, "PodScheduled", "False", "Unschedulable", now, message))
            return
        node = max(fit, key=lambda node: (self._free(node), self._random.random()))
        self._since[pod["metadata"]["uid"]] = self.clock.now()

        def act(body: Json) -> None:
            body["spec"]["nodeName"] = node.name
            _condition(body, "PodScheduled", "True", "", self.clock.now())

        self._change(pod, act)

    def _why_not(self, pod: Json, node: Node) -> str:
        spec = pod["spec"]
        tolerated = {t.get("key") for t in spec.get("tolerations") or ()}
        if bad := [taint for taint in node.taints if taint not in tolerated]:
            return f"node(s) had untolerated taint {{{bad[0]}: }}"
        labels = {"kubernetes.io/hostname": node.name, **node.labels}
        if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
            return "node(s) didn't match Pod's node affinity/selector"
        if node.name in _avoided(spec):
            return "node(s) didn't match Pod's node affinity/selector"
        return "Insufficient nvidia.com/gpu" if self._free(node) < _gpus(pod) else ""

    def _free(self, node: Node) -> int:
        return node.gpus - sum(_gpus(pod) for pod in self.pods() if pod["spec"]["nodeName"] == node.name)

    def _start(self, pod: Json) -> None:
        uid, now = pod["metadata"]["uid"], self.clock.now()
        if why := self.image_fault(pod):
            state = {"waiting": {"reason": why, "message": f"Back-off pulling image: {why}"}}
            self._change(pod, lambda body: body["status"].update(containerStatuses=[_container(state)]))
            return
        if now - self._since[uid] < self.start_seconds:
            return
        self.backend.start(pod)
        self._running.add(uid)

        def act(body: Json) -> None:
            running = {"running": {"startedAt": stamp(now)}}
            body["status"].update(phase="Running", startTime=stamp(now), containerStatuses=[_container(running)])

        self._since[uid] = now
        self._change(pod, act)

    def _watch_container(self, pod: Json) -> None:
        uid, now = pod["metadata"]["uid"], self.clock.now()
        limit = pod["spec"].get("activeDeadlineSeconds")
        if limit and now - self._since[uid] > limit and uid not in self._kill_at:
            self._causes[uid] = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            self._kill_at[uid] = now + 30.0
            self.backend.terminate(uid)
        if self._kill_at.get(uid, now + 1) <= now:
            self.backend.kill(uid)
        ended = self.backend.poll(uid)
        if ended is not None:
            self._running.discard(uid)
            self._end(pod, ended)

    def _end(self, pod: Json, ended: Ended) -> None:
        now, uid = self.clock.now(), pod["metadata"]["uid"]
        self._kill_at.pop(uid, None)

        def act(body: Json) -> None:
            reason = "Completed" if ended.exit_code == 0 else ended.reason
            since = stamp(self._since.get(uid, now))
            facts = {"exitCode": ended.exit_code, "reason": reason, "startedAt": since, "finishedAt": stamp(now)}
            phase = "Succeeded" if ended.exit_code == 0 else "Failed"
            body["status"].update(phase=phase, containerStatuses=[_container({"terminated": facts})])
            if uid in self._causes:
                body["status"]["reason"], body["status"]["message"] = self._causes.pop(uid)

        self._change(pod, act)

    def _change(self, pod: Json, act: Callable[[Json], None]) -> None:
        self.objects.change(("pods", pod["metadata"]["namespace"]), pod["metadata"]["name"], act)


def finished(job: Json) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


def _over(pod: Json) -> bool:
    return pod["status"]["phase"] in ("Succeeded", "Failed")


def _gpus(pod: Json) -> int:
    limits = pod["spec"]["containers"][0].get("resources", {}).get("limits", {})
    return int(next((count for name, count in limits.items() if "gpu" in name), 1))


def _avoided(spec: Json) -> set[str]:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or ()
    rules = [rule for term in terms for rule in term.get("matchExpressions") or () if rule["operator"] == "NotIn"]
    return {value for rule in rules for value in rule["values"] if rule["key"] == "kubernetes.io/hostname"}


def _container(state: Json) -> Json:
    return {"name": "worker", "state": state, "restartCount": 0, "imageID": IMAGE}


def _condition(body: Json, kind: str, status: str, reason: str, now: float, message: str = "") -> None:
    conditions = body.setdefault("status", {}).setdefault("conditions", [])
    facts: dict[str, Any] = {"type": kind, "status": status, "reason": reason, "message": message}
    for known in conditions:
        if known["type"] == kind:
            if any(known.get(name) != value for name, value in facts.items()):
                known.update(facts, lastTransitionTime=stamp(now))
            return
    conditions.append({**facts, "lastTransitionTime": stamp(now)})


def _policy_action(job: Json, pod: Json) -> str:
    """What the podFailurePolicy says of an ended pod: the first rule that matches, else `Count`."""
    conditions = {c["type"] for c in pod["status"].get("conditions") or () if c["status"] == "True"}
    statuses = pod["status"].get("containerStatuses") or ()
    code = statuses[0]["state"]["terminated"]["exitCode"] if statuses else 0
    for rule in (job["spec"].get("podFailurePolicy") or {}).get("rules") or ():
        if any(wanted["type"] in conditions for wanted in rule.get("onPodConditions") or ()):
            return str(rule["action"])
        codes = rule.get("onExitCodes")
        if codes and (code in codes["values"]) == (codes["operator"] == "In") and code != 0:
            return str(rule["action"])
    return "Count"
