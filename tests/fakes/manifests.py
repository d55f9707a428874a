"""Kubernetes manifests as a cluster would get them, rendered by the kustomize in kubectl, which a wheel carries."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("k8s/overlays/local", "k8s/overlays/production")
PLACES = (*OVERLAYS, "k8s/weights", "k8s/training")
"""What an operator applies."""

Json = dict[str, Any]


@cache
def rendered(place: str) -> tuple[Json, ...]:
    """Every object of one kustomization."""
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", ROOT / place], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def pod_specs(objects: tuple[Json, ...]) -> dict[str, Json]:
    """Pod specifications by `Kind/name`."""
    return {
        f"{item['kind']}/{item['metadata']['name']}": item["spec"]["template"]["spec"]
        for item in objects
        if "template" in (item.get("spec") or {})
    }


def offences(pod: Json) -> list[str]:
    """What the profile `restricted` of the Pod Security Standards forbids in a pod, field by field; empty is admitted.

    After the table of https://kubernetes.io/docs/concepts/security/pod-security-standards (baseline and restricted).
    """
    found = [f"{field} is set" for field in ("hostNetwork", "hostPID", "hostIPC") if pod.get(field)]
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    for volume in pod.get("volumes", ()):
        found += [f"volume {volume['name']}: {kind}" for kind in volume.keys() - allowed - {"name"}]
    shared = pod.get("securityContext", {})
    if shared.get("sysctls") or shared.get("appArmorProfile") or shared.get("seLinuxOptions"):
        found.append("securityContext: sysctls, AppArmor or SELinux options")
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        found += [f"{container['name']}: {offence}" for offence in _container_offences(container, shared)]
    return found


def _container_offences(container: Json, shared: Json) -> list[str]:
    own = container.get("securityContext", {})
    capabilities = own.get("capabilities", {})
    rules = {
        "privileged": own.get("privileged", False) is False,
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "capabilities are not all dropped": "ALL" in capabilities.get("drop", ()),
        "capabilities are added": set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"},
        "runAsNonRoot": own.get("runAsNonRoot", shared.get("runAsNonRoot")) is True,
        "runAsUser is 0": own.get("runAsUser", shared.get("runAsUser", 1)) != 0,
        "seccompProfile": own.get("seccompProfile", shared.get("seccompProfile", {})).get("type")
        in ("RuntimeDefault", "Localhost"),
        "hostPort": all("hostPort" not in port for port in container.get("ports", ())),
        "procMount": own.get("procMount", "Default") == "Default",
    }
    return [rule for rule, holds in rules.items() if not holds]
