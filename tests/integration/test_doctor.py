"""`samaflow doctor` on a machine where runs have died."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import psutil

import sql
from tests.fakes.clips import write_clip
from tests.fakes.command import Folder, wait_until


def close_pipes(process: subprocess.Popen[str]) -> None:
    """Not by reading them to the end: the orphan that is looked for here holds them open."""
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def levels(findings: list[dict[str, str]]) -> dict[str, str]:
    return {finding["subject"]: finding["level"] for finding in findings}


def test_a_fresh_folder_has_nothing_to_mend(folder: Folder) -> None:
    found = levels(folder.json("doctor"))
    assert {found[subject] for subject in ("encoders", "store", "database", "scratch", "jobs")} == {"fine"}


def test_what_a_killed_run_leaves_is_found_and_removed(folder: Folder, tmp_path: Path) -> None:
    del folder.environ["PREFECT_API_URL"], folder.environ["PREFECT_HOME"]
    clip = write_clip(tmp_path / "clip.mp4")
    folder.manifest({"source": clip, "instruction": "paint it", "editor": "sama", "steps": 100})
    flow = folder.start("edit", "manifest.csv", "--allow", str(tmp_path))
    wait_until(lambda: any(folder.path.glob(".samaflow/logs/*.log")), "a worker")
    family = psutil.Process(flow.pid).children(recursive=True)
    server = next(child for child in family if "prefect.server" in " ".join(child.cmdline()))
    (folder.path / ".samaflow" / "scratch" / f"{flow.pid}-split").mkdir(parents=True, exist_ok=True)
    flow.kill()
    flow.wait(timeout=30)
    close_pipes(flow)
    wait_until(lambda: not server.is_running(), "the server's end", 20)
    (job,) = folder.ask("status")["jobs"]
    assert job["flow_gone"]
    part = Path(job["output"].removeprefix("file://")).with_name(f".{job['job_id']}.part")
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(b"half a film")
    found = levels(folder.ask("doctor"))
    assert (found["scratch"], found["jobs"]) == ("warning", "warning")
    folder.ask("doctor", "--fix")
    assert not part.exists()
    assert levels(folder.ask("doctor"))["scratch"] == "fine"


def test_a_database_that_cannot_be_used_is_said_without_its_password(folder: Folder) -> None:
    folder.environ["SAMAFLOW_DATABASE"] = "postgresql://user:secret@127.0.0.1:1/none"
    done = folder.run("doctor")
    assert done.returncode == 1
    assert "secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_newer_database_is_said_with_what_helps_and_migrating_leaves_it_alone(folder: Folder) -> None:
    file = folder.path / "newer.db"
    folder.environ["SAMAFLOW_DATABASE"] = f"sqlite:///{file}"
    sql.open_database(f"sqlite:///{file}").close()
    with closing(sqlite3.connect(file, isolation_level=None)) as newer:
        newer.execute("UPDATE alembic_version SET version_num = '9999'")
    for arguments in ((), ("--migrate",)):
        (finding,) = (line for line in folder.ask("doctor", *arguments, code=1) if line["subject"] == "database")
        assert "is at revision 9999, which this samaflow does not know: it is newer, so update" in finding["detail"]
        assert finding["remedy"] == ""
