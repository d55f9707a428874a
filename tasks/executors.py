"""The kinds of executor by name: checked before anything runs, made when the first worker is needed."""

from __future__ import annotations

from edits.settings import Settings
from tasks.executor import Executor
from tasks.kubernetes_job import load_template
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
    if settings.executor == "kubernetes":
        load_template(settings).check_store()
