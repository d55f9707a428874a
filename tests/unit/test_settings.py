"""Where a setting comes from, what a wrong one is told, and that passwords stay unseen."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import pytest

from edits.errors import SettingsError
from edits.settings import Settings, load_settings, redacted, shareable


def load(folder: Path, toml: str = "", environ: dict[str, str] | None = None, **overrides: object) -> Settings:
    if toml:
        (folder / "samaflow.toml").write_text(toml)
    return load_settings(folder, environ or {}, overrides)


def refusal(folder: Path, toml: str = "", environ: dict[str, str] | None = None, **overrides: object) -> str:
    with pytest.raises(SettingsError) as caught:
        load(folder, toml, environ, **overrides)
    return str(caught.value)


def test_without_anything_the_state_folder_holds_store_and_database(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.state_folder == tmp_path / ".samaflow"
    assert settings.store == (tmp_path / ".samaflow/store").as_uri()
    assert settings.database == f"sqlite:///{tmp_path}/.samaflow/samaflow.db"
    assert (settings.output_folder, settings.executor, settings.workers) == ("deliverables/", "local", 1)
    assert settings.schemes == ("file", "s3")


def test_the_call_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    toml = "[executor]\nworkers = 2\n[media]\nencoder_threads = 2\n[defaults]\neditor = 'file'\n"
    environ = {"SAMAFLOW_WORKERS": "3", "SAMAFLOW_DEFAULT_EDITOR": "environ"}
    settings = load(tmp_path, toml, environ, default_editor="call")
    assert (settings.default_editor, settings.workers, settings.encoder_threads) == ("call", 3, 2)
    assert settings.default_detail == "auto"


def test_every_setting_can_stand_in_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        r"""
        [store]
        uri = "s3://bucket/prefix"
        endpoint_url = "http://localhost:9000"
        [database]
        url = "postgresql+psycopg://u:p@h/d"
        [paths]
        state = "state"
        weights = "models"
        output = "/mnt/out/"
        roots = ["footage", "/mnt/library", "s3://films/library"]
        schemes = ["file"]
        [paths.map]
        'Z:\footage' = "footage"
        "/Volumes/Media" = "s3://films/library"
        [executor]
        kind = "kubernetes"
        workers = 4
        [defaults]
        editor = "grade"
        deliverable = "ffv1"
        detail = "upscale"
        weights = { sama = "14b" }
        [limits]
        max_pixels = 100
        max_duration_hours = 0.5
        memory_gib = 2
        [media]
        encoder_threads = 1
        [cost]
        gpu_hour = 3.5
        currency = "EUR"
        [model]
        profile = "streamed"
        attention = "fa3_fwd"
        compile = true
        strict_prompts = true
        """,
    )
    assert settings == Settings(
        state_folder=tmp_path / "state",
        store="s3://bucket/prefix",
        endpoint_url="http://localhost:9000",
        database="postgresql+psycopg://u:p@h/d",
        output_folder="/mnt/out/",
        roots=(str(tmp_path / "footage"), "/mnt/library", "s3://films/library"),
        schemes=("file",),
        path_map={"Z:\\footage": str(tmp_path / "footage"), "/Volumes/Media": "s3://films/library"},
        executor="kubernetes",
        workers=4,
        default_editor="grade",
        default_weights={"sama": "14b"},
        default_deliverable="ffv1",
        default_detail="upscale",
        max_pixels=100,
        max_duration_hours=0.5,
        memory_gib=2,
        encoder_threads=1,
        gpu_hour_cost=3.5,
        currency="EUR",
        weights_folder=tmp_path / "models",
        profile="streamed",
        attention="fa3_fwd",
        compile=True,
        strict_prompts=True,
    )
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_lists_and_tables_in_the_environment_are_separated_by_commas(tmp_path: Path) -> None:
    environ = {
        "SAMAFLOW_ROOTS": "/a, /b",
        "SAMAFLOW_PATH_MAP": "Z:\\x=/a",
        "SAMAFLOW_DEFAULT_WEIGHTS": "sama=14b",
        "SAMAFLOW_GPU_HOUR_COST": "2.5",
    }
    settings = load(tmp_path, "", environ)
    assert settings.roots == ("/a", "/b")
    assert settings.path_map == {"Z:\\x": "/a"}
    assert settings.default_weights == {"sama": "14b"}
    assert settings.gpu_hour_cost == 2.5


def test_a_store_may_be_a_folder(tmp_path: Path) -> None:
    assert load(tmp_path, store="my store").store == (tmp_path / "my store").as_uri()
    assert load(tmp_path, store="file:///x").store == "file:///x"


def test_roots_for_a_run_hold_the_output_folder_when_it_is_absolute(tmp_path: Path) -> None:
    assert load(tmp_path, roots=["/a"]).roots_with(Path("/m")) == ("/a", "/m")
    assert load(tmp_path, output_folder="/out").roots_with(Path("/m"), Path("/c")) == ("/out", "/m", "/c")


# -- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[executer]\nworkers = 1\n", "Did you mean 'executor'?"),
        ("[executor]\nworker = 1\n", "Did you mean 'workers'?"),
        ("workers = 1\n", "no table is called [workers]"),
        ("store = 'x'\n", "write [store] on a line"),
        ("[store]\nsecret_key = 'hunter2'\n", "no key 'secret_key'"),
        ("[executor]\nworkers = '1'\n", "'1' is not a whole number from 1"),
        ("[executor]\nworkers = 0\n", "from 1"),
        ("[executor]\nworkers = true\n", "from 1"),
        ("[executor]\nkind = 'slurm'\n", "one of local, kubernetes"),
        ("[limits]\nmemory_gib = nan\n", "above 0"),
        ("[paths]\nroots = '/a'\n", "a list of texts"),
        ("[paths]\nschemes = ['http']\n", "a list of file, s3"),
        ("[paths.map]\nz = 1\n", "a table of texts"),
        ("[store]\nuri = 'ftp://x'\n", "s3://bucket/prefix"),
        ("[store]\nuri = ''\n", "a text"),
        ("[paths]\nstate = '~/x'\n", "shell's word"),
        ("[defaults]\ndetail = 'none'\n", "one of auto, full, tone, upscale"),
        ("[", "not valid TOML"),
    ],
)
def test_a_wrong_line_of_the_file_is_named_with_what_is_right(tmp_path: Path, toml: str, says: str) -> None:
    message = refusal(tmp_path, toml)
    assert says in message
    assert "hunter2" not in message


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "samaflow.toml").write_bytes(b"\xff")
    assert "not valid TOML" in refusal(tmp_path)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "samaflow.toml").mkdir()
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("variable", "text", "says"),
    [
        ("SAMAFLOW_WORKRES", "1", "Did you mean 'SAMAFLOW_WORKERS'?"),
        ("SAMAFLOW_WORKERS", "many", "SAMAFLOW_WORKERS: 'many' is not a whole number"),
        ("SAMAFLOW_WORKERS", "0", "from 1"),
        ("SAMAFLOW_PATH_MAP", "Z:", "a=b,c=d"),
    ],
)
def test_a_wrong_variable_is_named_with_what_is_right(tmp_path: Path, variable: str, text: str, says: str) -> None:
    assert says.lower() in refusal(tmp_path, "", {variable: text}).lower()


def test_variables_of_others_are_left_alone(tmp_path: Path) -> None:
    environ = {
        "PATH": "/bin",
        "SAMAFLOW_HOME": "/code",
        "SAMAFLOW_PORT": "tcp://10.0.0.1:80",
        "SAMAFLOW_SERVER_SERVICE_HOST": "10.0.0.1",
        "SAMAFLOW_SERVICE_PORT_HTTP": "80",
        "SAMAFLOW_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert load(tmp_path, "", environ) == load(tmp_path)


def test_an_unknown_override_is_named(tmp_path: Path) -> None:
    assert "Did you mean 'workers'?" in refusal(tmp_path, worker=1)


# -- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:hunter2@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user:hunter2@/x?@host/db", "postgresql://user:***@host/db"),
        ("postgresql://:hunter2@host/db", "postgresql://:***@host/db"),
        (
            "postgresql://host/db?user=u&password=hunter2&sslmode=require",
            "postgresql://host/db?user=u&password=***&sslmode=require",
        ),
        ("postgresql://host/db?sslPassword=hunter2", "postgresql://host/db?sslPassword=***"),
        ("postgresql://user@host:5432/db", "postgresql://user@host:5432/db"),
        ("sqlite:////folder/a:b@c.db", "sqlite:////folder/a:b@c.db"),
    ],
)
def test_a_database_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize("url", ["user:hunter2@host", "postgres:hunter2", "hunter2\n"])
def test_a_password_in_a_broken_url_is_in_no_message(tmp_path: Path, url: str) -> None:
    assert "hunter2" not in refusal(tmp_path, "", {"SAMAFLOW_DATABASE": url})
    assert "hunter2" not in refusal(tmp_path, database=url)


def test_settings_are_shown_without_the_database(tmp_path: Path) -> None:
    assert "hunter2" not in repr(load(tmp_path, database="postgresql://user:hunter2@host/db"))


def test_what_is_recorded_of_the_settings_is_plain_json_without_any_password(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        database="postgresql+psycopg://u:hunter2@h/x?sslpassword=hunter2",
        endpoint_url="http://user:hunter2@s3.local",
        path_map={"Z:": "/mnt"},
    )
    recorded = json.loads(json.dumps(shareable(settings)))
    assert set(recorded) == {field.name for field in dataclasses.fields(Settings)}
    assert (recorded["workers"], recorded["path_map"], recorded["schemes"]) == (1, {"Z:": "/mnt"}, ["file", "s3"])
    assert "hunter2" not in json.dumps(recorded)
