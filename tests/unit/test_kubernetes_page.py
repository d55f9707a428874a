"""What docs/kubernetes.md has people type exists: commands with their options, files, targets, objects, settings."""

from __future__ import annotations

import dataclasses
import re
import shlex
from functools import cache
from typing import Any

import pytest
import typer.main
import yaml

from edits.settings import Settings
from flows.cli import app
from tests.fakes.manifests import OVERLAYS, PLACES, ROOT, rendered

PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
TYPED = "\n".join(re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")
INLINE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
LINES = [line for line in [*TYPED.splitlines(), *INLINE] if line.strip()]


def calls_of(program: str) -> list[list[str]]:
    """Arguments of every call of a program, in blocks and in running text."""
    found = [shlex.split(line) for line in LINES if line.startswith(f"{program} ")]
    return [words[1:] for words in found]


@pytest.mark.parametrize("words", calls_of("samaflow"), ids=" ".join)
def test_every_samaflow_command_has_its_options(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        assert rest[0] in command.commands
        command = command.commands[rest.pop(0)]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


def test_the_page_has_people_type_something_for_each_program() -> None:
    assert all(calls_of(program) for program in ("samaflow", "docker", "kubectl", "make", "kind"))


def test_every_folder_that_is_applied_is_there() -> None:
    applied = re.findall(r"(?:apply -k|kustomize) (\S+)", " ".join(LINES))
    assert {place for place in applied if rendered(place.rstrip("`"))} >= {*PLACES}


def test_every_file_and_target_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{words[0]}:", makefile, re.MULTILINE) for words in calls_of("make"))
    paths = re.findall(r"\bk8s/[\w./-]+|\(([\w./-]+\.md)[)#]", PAGE)
    named = set(re.findall(r"\bk8s/[\w/.-]*\w", PAGE)) | {f"docs/{page}" for page in paths if page}
    assert [path for path in named if not (ROOT / path).exists()] == []


@cache
def objects() -> set[str]:
    """`kind/name` of what is applied."""
    return {f"{item['kind'].lower()}/{item['metadata']['name']}" for place in PLACES for item in rendered(place)}


def test_every_object_that_kubectl_is_asked_for_is_applied() -> None:
    asked = re.findall(r"\b((?:deployment|job|service)/[\w-]+)", " ".join(LINES))
    assert asked
    assert set(asked) <= objects()
    assert "role/samaflow-operator" in objects()


def test_every_setting_is_one() -> None:
    files = [ROOT / place / name for place in OVERLAYS for name in ("cluster.env", "flow.env")]
    keys = {line.partition("=")[0] for file in files for line in file.read_text(encoding="utf-8").splitlines()}
    named = set(re.findall(r"\b(?:SAMAFLOW_[A-Z_]+[A-Z]|[A-Z]+(?:_[A-Z]+)*_(?:IMAGE|CIDR|LIMIT|CLASS|HOST))\b", PAGE))
    variables = {f"SAMAFLOW_{field.name.upper()}" for field in dataclasses.fields(Settings)}
    assert named <= keys | variables | {"TEST_IMAGE"}


def test_every_deployment_of_the_page_is_in_prefect_yaml() -> None:
    names = {
        item["name"] for item in yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    }
    assert {"reconcile-kubernetes"} <= names
