"""Examines this machine: what is missing, what dead runs left over, and how to mend it."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

import sql
from edits.errors import SamaflowError
from edits.settings import Settings, redacted
from edits.storage import Store
from sama_model.installed import installed
from tasks.finding import Finding
from tasks.local_leftovers import dead_scratch, gone_jobs, half_published

LOW_SPACE = 5 * 10**9
"""Bytes of free disk below which the doctor warns."""


def examine(settings: Settings, *, fix: bool, migrate: bool) -> list[Finding]:
    """Look at everything; `fix` removes leftovers, `migrate` brings the database up to date."""
    return [
        *_model_packages(),
        _encoder(),
        _space(settings),
        _store(settings),
        _database(settings, migrate=migrate),
        _scratch(settings, fix=fix),
        _jobs(settings, fix=fix),
    ]


def examine_cluster(settings: Settings) -> list[Finding]:
    """Look at the cluster that the settings name, as a run would meet it."""
    if importlib.util.find_spec("kubernetes") is None:
        remedy = "pip install -c constraints.txt 'samaflow[kubernetes]'"
        return [Finding("cluster", "broken", "the Kubernetes client is not installed", remedy)]
    from tasks.cluster_doctor import doctor_cluster

    there = installed(settings.weights_folder)
    broken = [Finding("weights", "broken", str(error)) for error in there.broken.values()]
    return broken + doctor_cluster(settings, {name: weights.card.digest for name, weights in there.weights.items()})


def leftovers(settings: Settings, *, fix: bool) -> list[Finding]:
    """What dead runs have left in the cluster, the database and the store; with `fix` it is mended."""
    from tasks.kubernetes_api import connect
    from tasks.leftovers import Leftovers
    from tasks.prefect_runs import start_again

    store = Store(settings.store, endpoint_url=settings.endpoint_url)
    try:
        found = Leftovers(sql.open_database(settings.database), store, connect(settings), start_again).find(mend=fix)
    except SamaflowError as error:
        return [Finding("leftovers", "broken", str(error), "mend what is said above first")]
    if not found:
        return [Finding("leftovers", "fine", "nothing is left over")]
    return [
        Finding(f"left over: {item.kind}", "fine" if item.mended else "warning", f"{item.subject}: {item.detail}",
                "" if item.mended else item.remedy)
        for item in found
    ]  # fmt: skip


def _model_packages() -> Iterator[Finding]:
    absent = [name for name in ("torch", "diffusers", "transformers") if importlib.util.find_spec(name) is None]
    if absent:
        remedy = "pip install -c constraints.txt 'samaflow[model]' where workers run; the flow side needs none of it"
        yield Finding("model packages", "warning", f"not installed: {', '.join(absent)}", remedy)
    else:
        yield Finding("model packages", "fine", "torch, diffusers and transformers are installed")


def _encoder() -> Finding:
    import av.codec

    absent = [name for name in ("libx264", "ffv1", "prores_ks") if name not in av.codec.codecs_available]
    if absent:
        return Finding("encoders", "broken", f"PyAV lacks {', '.join(absent)}", "install PyAV's wheel from PyPI")
    return Finding("encoders", "fine", "libx264, ffv1 and prores_ks")


def _space(settings: Settings) -> Finding:
    settings.state_folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.state_folder).free
    detail = f"{free / 1e9:.1f} GB free for {settings.state_folder}"
    if free < LOW_SPACE:
        return Finding("disk", "warning", detail, "free space, or set [paths] state to another disk")
    return Finding("disk", "fine", detail)


def _store(settings: Settings) -> Finding:
    try:
        store = Store(settings.store, endpoint_url=settings.endpoint_url)
        store.put_bytes("doctor/probe", b"probe")
        store.delete("doctor/probe")
    except SamaflowError as error:
        return Finding(
            "store", "broken", f"{settings.store}: {error}", "set [store] uri, or its rights and credentials"
        )
    return Finding("store", "fine", settings.store)


def _database(settings: Settings, *, migrate: bool) -> Finding:
    try:
        if migrate:
            sql.migrate(sql.connect(settings.database))
        sql.open_database(settings.database).close()
    except SamaflowError as error:
        return Finding("database", "broken", str(error))  # which says what to do
    return Finding("database", "fine", redacted(settings.database))


def _scratch(settings: Settings, *, fix: bool) -> Finding:
    dead = dead_scratch(settings)
    for path in dead if fix else []:
        shutil.rmtree(path, ignore_errors=True)
    if dead and not fix:
        detail = f"{len(dead)} folders of runs that died in {dead[0].parent}"
        return Finding("scratch", "warning", detail, "samaflow doctor --fix")
    return Finding("scratch", "fine", f"removed {len(dead)}" if dead else "nothing left over")


def _jobs(settings: Settings, *, fix: bool) -> Finding:
    """Jobs whose flow died, and what it may have left beside their outputs when it died while it published."""
    try:
        with contextlib.closing(sql.open_database(settings.database)) as db:
            jobs = gone_jobs(db)
    except SamaflowError as error:
        return Finding("jobs", "broken", str(error))
    parts = [part for job in jobs if (part := half_published(job)) is not None]
    for part in parts if fix else []:
        part.unlink(missing_ok=True)
    if not jobs:
        return Finding("jobs", "fine", "none was left by a run that died")
    left = f", {len(parts)} unfinished files beside their outputs" if parts and not fix else ""
    detail = f"{len(jobs)} jobs of runs that died ({', '.join(job.job_id for job in jobs[:5])}){left}"
    return Finding("jobs", "warning", detail, "run their manifests again: only what is missing is made")


def show(findings: list[Finding]) -> None:
    """Print the findings, what to do below each that needs something."""
    out = Console()
    marks = {"fine": "[green]ok[/]", "warning": "[yellow]!![/]", "broken": "[red]xx[/]"}
    for finding in findings:
        out.print(f"{marks[finding.level]}  {finding.subject}: {escape(finding.detail)}", soft_wrap=True)
        if finding.remedy:
            out.print(f"      {escape(finding.remedy)}", soft_wrap=True)
