"""Provenance that travels: signed into MP4 and MOV, beside other files, read back by whoever asks."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edits import provenance
from edits.certificates import DEVELOPMENT, Identity, identity
from edits.errors import SettingsError, VerificationError
from edits.media import child
from edits.settings import load_settings
from edits.trust import Trust
from tasks.run import Run
from tasks.sign import check_identity
from tests.fakes.clips import write_clip
from tests.fakes.command import Folder
from tests.unit.test_certificates import KEYS, written

CLAIM = provenance.Claim(
    title="out.mp4",
    job_id="0" * 16,
    generator="samaflow 0.1.0",
    digital_source_type=provenance.SOURCE_TYPE,
    source_sha256="5" * 64,
    source_title="a.mp4",
    editor="sama",
    editor_version="1",
    weights="tiny",
    weights_digest="ab" * 32,
    instruction="make it <winter> & cold",
)
READ = "import c2pa, sys; r = c2pa.Reader(sys.argv[1]); print(r.get_validation_state()); print(r.json())"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name in ("source.mp4", "source.mkv", "made.mp4", "made.mov"):
        write_clip(folder / name, frames=12, rate=Fraction(25), cuts=(5,) if "made" in name else ())
    return folder


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity(tmp_path_factory.mktemp("identity"), None, None, None)


def signed(clips: Path, folder: Path, signer: Identity, suffix: str = ".mp4", source: str = "source.mp4") -> Path:
    made = folder / f"made{suffix}"
    shutil.copy(clips / f"made{suffix}", made)
    provenance.embed(made, folder / f"signed{suffix}", CLAIM, clips / source, signer)
    return folder / f"signed{suffix}"


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_signed_file_is_valid_for_a_fresh_process_and_keeps_its_packets(
    clips: Path, tmp_path: Path, signer: Identity, suffix: str
) -> None:
    path = signed(clips, tmp_path, signer, suffix)
    state, _, text = subprocess.check_output([sys.executable, "-c", READ, path], text=True).partition("\n")
    store = json.loads(text)
    manifest = store["manifests"][store["active_manifest"]]
    actions = next(a["data"]["actions"] for a in manifest["assertions"] if a["label"].startswith("c2pa.actions"))
    assert state == "Valid"
    assert [action["action"] for action in actions] == ["c2pa.opened", "c2pa.edited"]
    assert actions[1]["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert actions[1]["softwareAgent"]["name"] == "sama/tiny"
    assert [(part["relationship"], part["title"]) for part in manifest["ingredients"]] == [("parentOf", "a.mp4")]
    assert child.run("packets", path) == child.run("packets", clips / f"made{suffix}")
    assert b"<Iptc4xmpExt:DigitalSourceType>" in path.read_bytes()


def test_the_xmp_of_an_instruction_with_control_characters_can_be_parsed(
    clips: Path, tmp_path: Path, signer: Identity
) -> None:
    made = tmp_path / "made.mp4"
    shutil.copy(clips / "made.mp4", made)
    claim = replace(CLAIM, instruction="winter\x00\x0b\x1b\ufffe <é> \U0001f328\n& cold")
    provenance.embed(made, tmp_path / "signed.mp4", claim, clips / "source.mp4", signer)
    data = (tmp_path / "signed.mp4").read_bytes()
    xmp = data[data.index(b"<x:xmpmeta") : data.index(b"<?xpacket end")]
    told = ElementTree.fromstring(xmp).find(".//{*}AIPromptInformation")
    assert told is not None
    assert told.text == "winter <é> \U0001f328\n& cold"


def test_what_was_signed_is_read_back_with_a_signer_that_is_named_a_development_one(
    clips: Path, tmp_path: Path, signer: Identity
) -> None:
    found = provenance.read(signed(clips, tmp_path, signer))
    assert (found.state, found.where, found.trusted) == ("valid", "embedded", False)
    assert (found.signer, found.claim, found.problems) == (DEVELOPMENT, CLAIM, ())


def test_a_source_that_c2pa_cannot_read_is_named_as_the_parent(clips: Path, tmp_path: Path, signer: Identity) -> None:
    found = provenance.read(signed(clips, tmp_path, signer, source="source.mkv"))
    assert (found.state, found.claim) == ("valid", CLAIM)


def test_a_changed_byte_makes_verification_fail_and_says_so(clips: Path, tmp_path: Path, signer: Identity) -> None:
    path = signed(clips, tmp_path, signer)
    data = bytearray(path.read_bytes())
    data[data.index(b"mdat") + 500] ^= 1
    path.write_bytes(data)
    found = provenance.read(path)
    assert found.state == "invalid"
    assert any("bmffHash.mismatch" in problem for problem in found.problems)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_copy_of_another_name_still_has_its_credentials(
    clips: Path, tmp_path: Path, signer: Identity, suffix: str
) -> None:
    copy = shutil.copy(signed(clips, tmp_path, signer, suffix), tmp_path / "renamed.bin")
    assert (provenance.read(copy).state, provenance.read(copy).claim) == ("valid", CLAIM)


@pytest.mark.parametrize(
    ("place", "state"),
    [(b"<Iptc4xmpExt:AIPrompt", "invalid"), (b"moov", "invalid"), (b"isom", "valid"), (b"padding", "valid")],
)
def test_what_the_signature_covers_is_what_the_documentation_says(
    clips: Path, tmp_path: Path, signer: Identity, place: bytes, state: str
) -> None:
    path = signed(clips, tmp_path, signer)
    data = path.read_bytes() + struct.pack(">I4s", 15, b"free") + b"padding"
    at = data.index(place) + len(place) - 1
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert provenance.read(path).state == state


def test_a_file_without_credentials_says_so(clips: Path) -> None:
    found = provenance.read(clips / "made.mp4")
    assert (found.state, found.problems) == ("none", ("made.mp4 carries no content credentials",))


def test_a_sidecar_holds_for_the_very_bytes_that_were_signed(clips: Path, tmp_path: Path, signer: Identity) -> None:
    path = tmp_path / "made.mkv"
    shutil.copy(clips / "source.mkv", path)
    digest = subprocess.check_output(["sha256sum", path], text=True).split()[0]
    beside = tmp_path / "made.mkv.credentials.json"
    beside.write_bytes(provenance.sidecar(CLAIM, digest, signer))
    assert (provenance.read(path).state, provenance.read(path).claim) == ("valid", CLAIM)
    forged = json.loads(beside.read_text())
    forged["claim"]["editor"] = "a painter"
    beside.write_text(json.dumps(forged))
    assert "not made by the certificate's key" in provenance.read(path).problems[0]
    beside.write_bytes(provenance.sidecar(CLAIM, digest, signer))
    path.write_bytes(path.read_bytes() + b"0")
    assert provenance.read(path).problems == ("file: its bytes are not those that were signed",)


@pytest.mark.parametrize(("days", "problem"), [((-9, -2), "it expired at"), ((2, 9), "it is not yet valid: it begins")])
def test_a_sidecar_by_a_certificate_that_is_not_valid_now_says_so(
    clips: Path, tmp_path: Path, days: tuple[int, int], problem: str
) -> None:
    key = KEYS["es256"]()
    valid = identity(tmp_path, *written(tmp_path, key), None)
    other, _ = written(tmp_path, key, days=days)
    late = replace(valid, chain=Path(other).read_text())
    path = Path(shutil.copy(clips / "source.mkv", tmp_path))
    beside = tmp_path / "source.mkv.credentials.json"
    beside.write_bytes(provenance.sidecar(CLAIM, hashlib.sha256(path.read_bytes()).hexdigest(), late))
    found = provenance.read(path)
    assert found.state == "invalid"
    assert [said.partition(problem)[:2] for said in found.problems] == [("certificate: ", problem)]


def test_a_signer_that_c2pa_refuses_is_an_error_that_says_what_to_do(
    clips: Path, tmp_path: Path, signer: Identity
) -> None:
    broken = replace(signer, sign=lambda data: b"no signature")
    with pytest.raises(VerificationError, match=r"could not be signed: .* Correct \[credentials\] in the settings"):
        signed(clips, tmp_path, broken)


# -- a whole run ------------------------------------------------------------------------------------------------------


def test_deliverables_are_signed_by_default_and_found_by_what_they_are_then(library: Folder) -> None:
    mp4, mkv = library.deliverables()
    for path, where, editor in ((mp4, "embedded", "grade"), (mkv, "sidecar", "passthrough")):
        found = library.ask("verify", str(path))
        assert (found["state"], found["where"]) == ("valid", where)
        assert (found["claim"]["editor"], found["claim"]["instruction"]) == (editor, "")
        lineage = library.ask("lineage", str(path))
        assert found["claim"]["job_id"] == lineage["job"]["job_id"]
        assert DEVELOPMENT in lineage["credentials"]
        assert [s["sha256"] for s in lineage["streams"]] == [s.sha256 for s in child.run("packets", path)]
    mp4.write_bytes(mp4.read_bytes()[:-1] + b"!")
    assert library.ask("verify", str(mp4), code=1)["state"] == "invalid"


def test_an_identity_that_cannot_sign_is_refused_before_any_work(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {}, {"certificate": "none.pem", "key": "none.key"})
    with (
        Run(settings, Trust((str(tmp_path),), settings.schemes, {})) as run,
        pytest.raises(SettingsError, match=r"none\.pem cannot be read"),
    ):
        check_identity(run)


def test_a_certificate_that_c2pa_refuses_is_refused_before_any_work(tmp_path: Path) -> None:
    certificate, key = written(tmp_path, KEYS["es256"]())  # has no extended key usage
    settings = load_settings(tmp_path, {}, {"certificate": certificate, "key": key})
    with (
        Run(settings, Trust((str(tmp_path),), settings.schemes, {})) as run,
        pytest.raises(
            SettingsError, match=r"C2PA refuses that of studio: .* extended key usage such as emailProtection"
        ),
    ):
        check_identity(run)


def test_the_development_certificate_is_accepted_before_any_work(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {}, {})
    with Run(settings, Trust((str(tmp_path),), settings.schemes, {})) as run:
        check_identity(run)
