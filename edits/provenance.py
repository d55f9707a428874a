"""Content credentials: what a deliverable says of itself, signed into MP4 and MOV (C2PA), beside all other files.

Knows how to say, sign and read it; which deliverable and with which key, its callers decide.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import c2pa
from cryptography import x509

from edits import wire
from edits.certificates import Identity, out_of_time, signed_by
from edits.errors import RecordError, SettingsError, VerificationError
from edits.job import STRICT

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's word for footage of which a trained model changed parts."""

FORMATS = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime"}
"""Suffixes whose files can carry credentials."""

SIDECAR = ".credentials.json"
"""Appended to the name of a file that cannot."""

DISCLOSE = ("full", "model", "minimal")
"""What credentials tell beside the fact itself: model and instruction, the model alone, nothing."""

_UNTRUSTED = "signingCredential.untrusted"
_XMP_BOX = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac").bytes
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 (section 2.2, production 2) does not allow, not even escaped."""
_LABEL = "org.samaflow.edit"


@dataclass(frozen=True)
class Claim:
    """What is said of a deliverable."""

    __pydantic_config__ = STRICT
    title: str
    job_id: str
    generator: str
    """`samaflow` and its version."""
    digital_source_type: str
    source_sha256: str
    source_title: str
    editor: str = ""
    editor_version: str = ""
    weights: str = ""
    weights_digest: str = ""
    instruction: str = ""


@dataclass(frozen=True)
class Sidecar:
    """The credentials of a file that cannot carry them. `signature` is over the bytes of `claim` and the digest."""

    __pydantic_config__ = STRICT
    claim: Claim
    sha256: str
    """Of the file."""
    algorithm: str
    certificates: str
    """In PEM, the signer's first."""
    signature: str
    """Base64."""


@dataclass(frozen=True)
class Credentials:
    """What was read back. Part of the `--json` output: fields are added, never renamed."""

    state: str
    """`valid`, `invalid` or `none`."""
    where: str
    """`embedded`, `sidecar` or empty."""
    trusted: bool
    """Whether the signer's certificate is on a trust list; a self-made one never is."""
    signer: str
    claim: Claim | None
    problems: tuple[str, ...]


# -- signing ----------------------------------------------------------------------------------------------------------


def check(identity: Identity) -> None:
    """Sign the smallest MP4 there is, in memory, so that a certificate that C2PA refuses is known before any work.

    Raises:
        SettingsError: the certificate was not accepted.
    """
    empty = _box(b"ftyp", b"isom\0\0\2\0isommp41") + _box(b"mdat", b"samaflow") + _box(b"moov", b"")
    made = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE}
    definition = {
        "claim_generator_info": [{"name": "samaflow"}],
        "format": "video/mp4",
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [made]}}],
    }
    try:
        with _signer(identity) as signer:
            c2pa.Builder(definition, _context()).sign(signer, "video/mp4", io.BytesIO(empty), io.BytesIO())
    except c2pa.C2paError as error:
        said = " ".join(str(error).split())
        raise SettingsError(
            f"[credentials] certificate: C2PA refuses that of {identity.name}: {said}. It must be no authority's own, "
            "and have the key usage digitalSignature, an extended key usage such as emailProtection, and an authority "
            "key identifier. Have one issued so, or turn credentials off with sign = false"
        ) from error


def _context() -> c2pa.Context:
    return c2pa.Context(c2pa.Settings.from_dict({"builder": {"thumbnail": {"enabled": False}}}))


def _signer(identity: Identity, timestamp_url: str | None = None) -> c2pa.Signer:
    algorithm = c2pa.C2paSigningAlg[identity.algorithm.upper()]
    return c2pa.Signer.from_callback(identity.sign, algorithm, identity.chain, timestamp_url)


def embed(
    finished: Path, signed: Path, claim: Claim, source: Path, identity: Identity, timestamp_url: str | None = None
) -> None:
    """Write `signed`: `finished` with its credentials, the source as its parent, and IPTC's fields as XMP.

    Raises:
        VerificationError: the file, the source or the certificate was not accepted.
    """
    with finished.open("ab") as file:
        file.write(_box(b"uuid", _XMP_BOX + _xmp(claim).encode()))
    try:
        with _signer(identity, timestamp_url) as signer:
            builder = c2pa.Builder(_definition(claim, finished, source), _context())
            if source.suffix.lower() in FORMATS:
                with source.open("rb") as parent:
                    builder.add_ingredient(_parent(claim, source), FORMATS[source.suffix.lower()], parent)
            builder.sign_file(finished, signed, signer)
    except c2pa.C2paError as error:
        raise VerificationError(
            f"{claim.title}: content credentials could not be signed: {error}. Correct [credentials] in the settings, "
            "or turn them off with sign = false"
        ) from error


def _parent(claim: Claim, source: Path) -> dict[str, str]:
    kind = FORMATS.get(source.suffix.lower(), "application/octet-stream")
    return {
        "title": claim.source_title,
        "format": kind,
        "relationship": "parentOf",
        "instance_id": "source",
        "label": "source",
    }


def _definition(claim: Claim, path: Path, source: Path) -> dict[str, Any]:
    name, _, version = claim.generator.partition(" ")
    edited: dict[str, Any] = {"action": "c2pa.edited", "digitalSourceType": claim.digital_source_type}
    if claim.editor:
        edited["softwareAgent"] = {"name": f"{claim.editor}/{claim.weights}", "version": claim.editor_version}
    if claim.instruction:
        edited["parameters"] = {"description": claim.instruction}
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}}
    return {
        "claim_generator_info": [{"name": name, "version": version}],
        "title": claim.title,
        "format": FORMATS[path.suffix.lower()],
        # A parent that C2PA cannot read is named; the claim has its digest.
        "ingredients": [] if source.suffix.lower() in FORMATS else [_parent(claim, source)],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [opened, edited]}},
            {"label": _LABEL, "data": json.loads(wire.dump(claim))},
        ],
    }


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _xmp(claim: Claim) -> str:
    fields = {
        "Iptc4xmpExt:DigitalSourceType": claim.digital_source_type,
        "xmp:CreatorTool": claim.generator,
        "Iptc4xmpExt:AISystemUsed": claim.editor and f"{claim.editor}/{claim.weights}",
        "Iptc4xmpExt:AISystemVersionUsed": claim.editor_version,
        "Iptc4xmpExt:AIPromptInformation": claim.instruction,
    }
    told = {name: escape(_NOT_XML.sub("", value)) for name, value in fields.items()}
    lines = "".join(f"<{name}>{value}</{name}>" for name, value in told.items() if value)
    return (
        "<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>"
        "<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>"
        "<rdf:Description rdf:about='' xmlns:xmp='http://ns.adobe.com/xap/1.0/'"
        " xmlns:Iptc4xmpExt='http://iptc.org/std/Iptc4xmpExt/2008-02-29/'>"
        f"{lines}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='r'?>"
    )


def sidecar(claim: Claim, sha256: str, identity: Identity) -> bytes:
    """The content of `<file>.credentials.json` for the file with this digest."""
    signature = base64.b64encode(identity.sign(_signed_bytes(claim, sha256))).decode()
    return wire.dump(Sidecar(claim, sha256, identity.algorithm, identity.chain, signature), indent=2)


def _signed_bytes(claim: Claim, sha256: str) -> bytes:
    return wire.dump(claim) + sha256.encode()


# -- reading ----------------------------------------------------------------------------------------------------------


def read(path: Path) -> Credentials:
    """The credentials that a file carries or that lie beside it, and whether they are still true of it.

    Raises:
        RecordError: a sidecar that is none.
        VerificationError: the file cannot be read.
    """
    beside = path.with_name(path.name + SIDECAR)
    kind = _kind(path)
    if kind is not None:
        found = _read_embedded(path, kind)
        if found is not None:
            return found
    if beside.exists():
        return _read_sidecar(path, wire.load(Sidecar, beside.read_bytes(), str(beside)))
    return Credentials("none", "", False, "", None, (f"{path.name} carries no content credentials",))


def _kind(path: Path) -> str | None:
    """MIME type of an MP4 or MOV file, by its first box and whatever it is called; None for another file.

    MOV files of old have no such box; there the suffix decides.
    """
    try:
        with path.open("rb") as file:
            first = file.read(12)
    except OSError as error:
        raise VerificationError(f"{path} cannot be read: {error.strerror}") from error
    if first[4:8] == b"ftyp":
        return FORMATS[".mov"] if first[8:] == b"qt  " else FORMATS[".mp4"]
    return FORMATS.get(path.suffix.lower())


def _read_embedded(path: Path, kind: str) -> Credentials | None:
    try:
        with path.open("rb") as file, c2pa.Reader(kind, file) as reader:
            state, store = reader.get_validation_state(), json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as error:
        return Credentials("invalid", "embedded", False, "", None, (f"cannot be read: {error}",))
    failures = list(_failures(store))
    signature = store["manifests"][store["active_manifest"]].get("signature_info", {})
    return Credentials(
        state="invalid" if state == "Invalid" or any(code != _UNTRUSTED for code, _ in failures) else "valid",
        where="embedded",
        trusted=state == "Trusted",
        signer=signature.get("common_name") or signature.get("issuer", ""),
        claim=_claim(store),
        problems=tuple(f"{code}: {said}" for code, said in failures if code != _UNTRUSTED),
    )


def _failures(store: dict[str, Any]) -> Iterator[tuple[str, str]]:
    results = store.get("validation_results", {}).get("activeManifest", {})
    for failure in results.get("failure", ()):
        yield failure["code"], failure.get("explanation", "")


def _claim(store: dict[str, Any]) -> Claim | None:
    """Ours; what another program signed has none."""
    for assertion in store["manifests"][store["active_manifest"]].get("assertions", ()):
        if assertion["label"] == _LABEL:
            try:
                return wire.load(Claim, json.dumps(assertion["data"]).encode(), _LABEL)
            except RecordError:
                return None
    return None


def _read_sidecar(path: Path, beside: Sidecar) -> Credentials:
    try:
        leaf = x509.load_pem_x509_certificates(beside.certificates.encode())[0]
        good = signed_by(leaf, base64.b64decode(beside.signature), _signed_bytes(beside.claim, beside.sha256))
    except (ValueError, IndexError) as error:
        raise RecordError(f"{path.name}{SIDECAR}: its certificate or signature cannot be read") from error
    problems = [] if good else ["signature: it was not made by the certificate's key over this claim"]
    if wrong := out_of_time(leaf):
        problems.append(f"certificate: it {wrong}")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != beside.sha256:
            problems.append("file: its bytes are not those that were signed")
    name = str(leaf.subject.rfc4514_string())
    return Credentials("invalid" if problems else "valid", "sidecar", False, name, beside.claim, tuple(problems))
