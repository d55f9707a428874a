"""Workers as pods: one Indexed Job a round, which lives on without the flow and is found again by its name.

Kubernetes is the queue: a Job waits there for GPUs, and retries disruptions and exit 75 by itself. Whatever needs
another pod template is the next round.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from edits.errors import ClusterError, ClusterSetupError, SamaflowError
from tasks.clock import Clock, Every, WallClock
from tasks.executor import RoundOrder, RoundView, WorkerView
from tasks.exits import Outcome
from tasks.kubernetes_api import Cluster, ExistsError
from tasks.kubernetes_job import SELECTOR, JobView, Template, job_name, job_view_of
from tasks.kubernetes_pods import JOB, VANISHED, Pod, outcome_of_pod, pod_of, trouble_of_pod
from tasks.kubernetes_watch import Mirror

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
"""Between attempts to create or look at a Job when the server does not answer."""
QUIET_SECONDS = 20.0
"""A pod that waits this long, and a Job that has no pods for so long, is worth a word."""
SILENCE_SECONDS = 30.0
LASTING_SECONDS = 300.0
"""After so long a trouble that time does not mend ends the round."""
MOST_PODS = 12
"""Pods of one shard in one round; then the round ends, for something kills them again and again."""
BLAMES = 2
"""Different shards that failed on a node, until it is avoided."""


class KubernetesExecutor:
    """GPU places of one namespace."""

    outlives_flow = True
    poll_seconds = 2.0

    def __init__(self, cluster: Cluster, template: Template, clock: Clock | None = None) -> None:
        self.places = template.settings.kubernetes_parallelism
        self._cluster = cluster
        self._template = template
        self._clock = clock or WallClock()
        self._mirror = Mirror(cluster)
        self._blamed: dict[str, set[str]] = defaultdict(set)
        self._fine: set[str] = set()

    def begin(self, order: RoundOrder) -> KubernetesRound:
        """Have the Job made as soon as the server takes it."""
        return KubernetesRound(order, self._cluster, self._mirror, self._clock, self._template, self.avoided())

    def resume(self, order: RoundOrder) -> KubernetesRound | None:
        """The Job of that name, whoever made it; None when there is none (any more).

        Raises:
            ClusterError: the server does not answer.
            ClusterSetupError: the Job is not this dispatch's.
        """
        found = self._cluster.job(job_name(order.dispatch_id, order.number))
        if found is None:
            return None
        made = self.begin(order)
        made.take_over(job_view_of(found))
        return made

    def blame(self, host: str, shard: str) -> None:
        """A worker failed there in a way that may be the node's fault."""
        if host:
            self._blamed[host].add(shard)

    def praise(self, host: str) -> None:
        """A worker did its work there."""
        self._fine.add(host)

    def avoided(self) -> frozenset[str]:
        """Nodes on which different shards failed; none when no node is known to be better."""
        bad = {host for host, shards in self._blamed.items() if len(shards) >= BLAMES}
        return frozenset(bad) if self._fine - bad else frozenset()

    def close(self) -> None:
        self._mirror.close()
        self._cluster.close()


class KubernetesRound:
    """One Job: made, watched, and deleted only when nobody wants its chunks or somebody says stop."""

    def __init__(
        self,
        order: RoundOrder,
        cluster: Cluster,
        mirror: Mirror,
        clock: Clock,
        template: Template,
        avoid: frozenset[str],
    ) -> None:
        self._order = order
        self._cluster = cluster.with_pauses(())
        self._mirror = mirror
        self._clock = clock
        self._body = template.job(order, avoid)
        self._job: JobView | None = None
        self._trouble = ""
        self._verdict: Outcome | None = None
        """How workers ended that never ran, when the round was given up."""
        self._lasting_since: float | None = None
        self._stopping = False
        self._final: RoundView | None = None
        self._attempts = Every(RETRY_SECONDS, clock)
        self._looks = Every(QUIET_SECONDS, clock)
        self._confirmations = Every(RETRY_SECONDS, clock)

    @property
    def name(self) -> str:
        return str(self._body["metadata"]["name"])

    # -- making it

    def take_over(self, job: JobView) -> None:
        """Adopt a Job that is there.

        Raises:
            ClusterSetupError: it is not this dispatch's.
        """
        if job.digest != self._order.digest or not job.indexes:
            raise ClusterSetupError(
                f"the Job {job.name} in namespace {self._cluster.namespace} is not this dispatch's (its annotations "
                "say so): delete it or rename it, nothing of ours runs in it"
            )
        self._job = job
        self._order = replace(self._order, indexes=job.indexes, places=job.parallelism)
        self._mirror.jobs.note(job)

    def _make(self) -> None:
        """Create the Job, or adopt the one that an attempt before this one made."""
        try:
            self.take_over(job_view_of(self._cluster.create_job(self._body)))
            self._trouble = ""
        except ExistsError:
            self._meet()
        except ClusterError as error:
            self._trouble = f"the Job {self.name} could not be made yet: {error}"

    def _meet(self) -> None:
        """409: active or finished and ours, adopt; terminating, wait; foreign, an error."""
        try:
            found = self._cluster.job(self.name)
        except ClusterError as error:
            self._trouble = f"the Job {self.name} is there and cannot be looked at yet: {error}"
            return
        if found is None:
            return
        job = job_view_of(found)
        if job.deleting:
            self._trouble = f"an old Job {self.name} is being deleted; its place is waited for"
            return
        self.take_over(job)
        self._trouble = ""

    # -- watching it

    def poll(self) -> RoundView:
        """See `Round`; the Job's end is confirmed by asking, never by silence."""
        if self._final is not None:
            return self._final
        if self._job is None:
            if self._stopping:
                return self._conclude([])
            if self._attempts.due():
                self._make()
            if self._job is None:
                return RoundView((), self._order.places, trouble=self._trouble)
        if self._stopping and self._attempts.due():
            self._delete(self._job)
        job = self._mirror.job(self._job.name, self._job.uid)
        if job is None or job.finished:
            return self._look_again()
        self._job = job
        pods = self._mirror.pods_of(self.name)
        self._judge(pods)
        return self._view(pods)

    def _look_again(self) -> RoundView:
        """The Job has ended or is gone, so the watch says: list its pods once, for the two watches run apart."""
        known = self._mirror.pods_of(self.name)
        if not self._confirmations.due():
            return self._view(known)
        assert self._job is not None
        try:
            found = self._cluster.job(self.name)
            items = self._cluster.pods(f"{SELECTOR},{JOB}={self.name}").items
        except ClusterError as error:
            self._trouble = f"the Job {self.name} has ended and cannot be looked at yet: {error}"
            return self._view(known)
        job = job_view_of(found) if found is not None else None
        pods = _newest(known, [pod_of(item) for item in items])
        alive = any(not pod.over and not gone for pod, gone in pods)
        if job is not None and job.uid == self._job.uid and (not job.finished or (self._stopping and alive)):
            return self._view(pods)
        if job is not None and job.uid == self._job.uid:
            self._job = job
        return self._conclude(pods)

    def _conclude(self, pods: Sequence[tuple[Pod, bool]]) -> RoundView:
        self._trouble = ""
        ended = [(pod, gone or not pod.over) for pod, gone in pods]
        self._final = RoundView(tuple(self._workers(ended)), 0, over=True)
        self._mirror.forget(self.name)
        return self._final

    def _view(self, pods: Sequence[tuple[Pod, bool]]) -> RoundView:
        workers = tuple(self._workers(pods))
        assert self._job is not None
        settled = {w.index for w in workers if w.exit_code == 0} | {
            self._order.indexes[k] for k in self._job.failed_indexes if k < len(self._order.indexes)
        }
        places = min(self._order.places, len(self._order.indexes) - len(settled))
        unheard = self._mirror.silence()[0] > SILENCE_SECONDS
        return RoundView(workers, places, trouble=self._trouble, unheard=unheard)

    def _workers(self, pods: Sequence[tuple[Pod, bool]]) -> Iterable[WorkerView]:
        now = datetime.fromtimestamp(self._clock.now(), UTC)
        for pod, gone in pods:
            if not 0 <= pod.index < len(self._order.indexes):
                continue
            outcome = outcome_of_pod(pod) or (VANISHED if gone else None)
            if outcome is VANISHED and self._verdict is not None:
                outcome = self._verdict
            yield WorkerView(
                index=self._order.indexes[pod.index],
                name=pod.name,
                host=pod.node,
                started_at=pod.started_at,
                ended_at=(pod.ended_at or now) if outcome is not None else None,
                exit_code=pod.exit_code if pod.over else None,
                outcome=outcome,
                image=pod.image,
            )

    # -- when it does not get on

    def _judge(self, pods: Sequence[tuple[Pod, bool]]) -> None:
        """Find out what keeps the round from getting on, and give it up when that will not change."""
        alive = [pod for pod, gone in pods if not gone and not pod.over]
        silent, why = self._mirror.silence()
        if silent > SILENCE_SECONDS:
            self._trouble = f"the cluster was not heard for {silent:.0f} s ({why}); pods that run go on"
            return
        waiting = [pod for pod in alive if self._clock.now() - pod.created_at.timestamp() > QUIET_SECONDS]
        troubles = [trouble for pod in waiting if (trouble := trouble_of_pod(pod)) is not None]
        if troubles:
            self._trouble = str(troubles[0])
        elif not alive and not self._stopping:
            self._explain_absence(pods)
        else:
            self._trouble = ""
        if troubles and len(troubles) == len(alive) and all(trouble.lasting for trouble in troubles):
            self._last(Outcome(troubles[0].category, False, True, troubles[0].summary, troubles[0].remedy))
        else:
            self._lasting_since = None
        self._count(pods)

    def _explain_absence(self, pods: Sequence[tuple[Pod, bool]]) -> None:
        """A Job without living pods: the quota, an admission rule, or Kueue; the events say which."""
        assert self._job is not None
        if self._clock.now() - self._job.created_at.timestamp() < QUIET_SECONDS or not self._looks.due():
            return
        try:
            warnings = self._cluster.warnings_about(self.name)
        except SamaflowError as error:
            log.warning("no events of Job %s: %s", self.name, error)
            return
        if warnings:
            remedy = "raise the quota of the namespace" if "quota" in warnings[-1] else "see kubectl describe job"
            self._trouble = f"no pods for Job {self.name}: {warnings[-1]}; {remedy}"
        elif not pods:
            self._trouble = f"Job {self.name} has no pods yet; is it waiting to be admitted by a queue?"

    def _last(self, outcome: Outcome) -> None:
        now = self._clock.now()
        self._lasting_since = self._lasting_since or now
        if now - self._lasting_since >= LASTING_SECONDS:
            self._verdict = outcome
            self.stop()

    def _count(self, pods: Sequence[tuple[Pod, bool]]) -> None:
        by_index: dict[int, int] = defaultdict(int)
        for pod, _ in pods:
            by_index[pod.index] += 1
        if max(by_index.values(), default=0) > MOST_PODS:
            log.warning("Job %s: more than %d pods of one shard ended; the round is over", self.name, MOST_PODS)
            self.stop()

    # -- ending it

    def stop(self) -> None:
        """Have the Job and its pods deleted, at once or when the server takes it; `poll` says when they are gone."""
        if not self._stopping and self._job is not None and self._final is None:
            self._delete(self._job)
        self._stopping = True

    def _delete(self, job: JobView) -> None:
        try:
            self._cluster.delete_job(job.name, job.uid)
        except ClusterError as error:
            log.warning("Job %s could not be deleted yet: %s", job.name, error)


def _newest(known: Sequence[tuple[Pod, bool]], listed: Sequence[Pod]) -> list[tuple[Pod, bool]]:
    """What was seen before and what is there now, in order of index, then of age."""
    pods = {pod.uid: (pod, True) for pod, _ in known}
    pods.update((pod.uid, (pod, False)) for pod in listed)
    return sorted(pods.values(), key=lambda item: (item[0].index, item[0].created_at, item[0].name))
