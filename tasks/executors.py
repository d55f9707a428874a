"""The kinds of executor by name: checked before anything runs, made when the first worker is needed."""

from __future__ import annotations

from pathlib import Path

from edits.errors import SettingsError
from edits.settings import Settings
from edits.trust import local_path
from tasks.executor import Executor
from tasks.kubernetes_job import Template, load_template
from tasks.local import LocalExecutor
from tasks.shard import worker_variables


def make_executor(settings: Settings) -> Executor:
    """The executor that the settings name.

    Raises:
        ClusterSetupError: no cluster, or one that is too old.
        ClusterError: a cluster that does not answer.
    """
    if settings.executor == "local":
        variables = worker_variables(settings)
        logs = settings.state_folder / "logs"
        return LocalExecutor(settings.store, settings.workers, logs, settings.endpoint_url, variables=variables)
    from tasks.kubernetes import KubernetesExecutor  # here: the client takes a second to load
    from tasks.kubernetes_api import connect

    cluster = connect(settings)
    cluster.require_version()
    return KubernetesExecutor(cluster, load_template(settings))


def check_executor(settings: Settings) -> None:
    """What can be wrong with the settings of the executor, before anything is done.

    Raises:
        SettingsError: a template that cannot be used, or a store that pods do not see.
    """
    if settings.executor != "kubernetes":
        return
    template = load_template(settings)
    if settings.store.startswith("file:") and not _is_mounted(template, local_path(settings.store)):
        raise SettingsError(
            f"[store] uri {settings.store}: pods do not see this machine's folders. Set it to s3://bucket/prefix, or "
            f"mount the folder in {settings.kubernetes_job_template} at its own path."
        )


def _is_mounted(template: Template, folder: Path) -> bool:
    containers = template.body["spec"]["template"]["spec"]["containers"]
    mounts = [mount["mountPath"] for container in containers for mount in container.get("volumeMounts") or ()]
    return any(folder.is_relative_to(mount) for mount in mounts)
