"""Who signs: what is set, or a self-made development identity that is named as such."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from edits.certificates import DEVELOPMENT, identity, signed_by
from edits.errors import SettingsError

KEYS: dict[str, Any] = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ps256": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
PEM = serialization.Encoding.PEM


def written(folder: Path, key: Any, subject: str = "CN=studio", days: tuple[int, int] = (0, 1)) -> tuple[str, str]:
    """Paths of a certificate and its key; it is valid between these days, 0 being now."""
    name = x509.Name.from_rfc4514_string(subject)
    begins, ends = (datetime.now(UTC) + timedelta(days=day) for day in days)
    certificate = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    certificate = certificate.serial_number(1).not_valid_before(begins).not_valid_after(ends)
    signed = certificate.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    (folder / "c.pem").write_bytes(signed.public_bytes(PEM))
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "c.key").write_bytes(key.private_bytes(PEM, *private))
    return str(folder / "c.pem"), str(folder / "c.key")


def key_service(data: bytes) -> bytes:
    """A service that holds the wrong key."""
    return b"0" * 64


def failing_service(data: bytes) -> bytes:
    """A service that does not answer."""
    raise ConnectionError("no route to the key")


def silent_service(data: bytes) -> None:
    """A service that forgets to return what it signed."""


def test_without_settings_a_development_identity_is_made_once_and_says_what_it_is(tmp_path: Path) -> None:
    first, again = identity(tmp_path, None, None, None), identity(tmp_path, None, None, None)
    assert (first.name, first.development, first.algorithm) == (DEVELOPMENT, True, "es256")
    assert "development" in first.name
    assert first.chain == again.chain
    assert stat.S_IMODE((tmp_path / "development.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_certificates_key_decides_the_algorithm(tmp_path: Path, algorithm: str) -> None:
    certificate, key = written(tmp_path, KEYS[algorithm]())
    found = identity(tmp_path, certificate, key, None)
    assert (found.algorithm, found.name, found.development) == (algorithm, "studio", False)
    leaf = x509.load_pem_x509_certificate(found.chain.encode())
    signature = found.sign(b"data")
    assert signed_by(leaf, signature, b"data")
    assert not signed_by(leaf, signature, b"date")


@pytest.mark.parametrize(
    ("subject", "name"), [("CN=studio,O=house", "studio"), ("O=house,C=NO", "house"), ("L=Oslo,C=NO", "L=Oslo,C=NO")]
)
def test_a_certificate_without_a_common_name_is_named_by_what_it_has(tmp_path: Path, subject: str, name: str) -> None:
    certificate, key = written(tmp_path, KEYS["es256"](), subject)
    assert identity(tmp_path, certificate, key, None).name == name


def test_a_key_on_a_curve_that_credentials_do_not_allow_is_refused(tmp_path: Path) -> None:
    certificate, key = written(tmp_path, ec.generate_private_key(ec.SECP521R1()))
    with pytest.raises(SettingsError, match=r"certificate: its key must be P-256, P-384"):
        identity(tmp_path, certificate, key, None)
    (other := tmp_path / "other").mkdir()
    allowed, _ = written(other, KEYS["es256"]())
    with pytest.raises(SettingsError, match=r"key: it must be P-256, P-384"):
        identity(tmp_path, allowed, key, None)


def test_a_short_rsa_key_is_refused(tmp_path: Path) -> None:
    certificate, key = written(tmp_path, rsa.generate_private_key(65537, 1024))
    with pytest.raises(SettingsError, match="its RSA key has 1024 bits; C2PA asks for 2048 or more"):
        identity(tmp_path, certificate, key, None)


@pytest.mark.parametrize(
    ("days", "message"), [((-9, -2), r"c\.pem expired at {}"), ((2, 9), r"c\.pem is not yet valid: it begins at {}")]
)
def test_a_certificate_that_is_not_valid_now_is_refused_with_its_date(
    tmp_path: Path, days: tuple[int, int], message: str
) -> None:
    certificate, key = written(tmp_path, KEYS["es256"](), days=days)
    date = datetime.now(UTC) + timedelta(days=min(days, key=abs))
    with pytest.raises(SettingsError, match=message.format(f"{date:%Y-%m-%d}")):
        identity(tmp_path, certificate, key, None)


@pytest.mark.parametrize(
    ("service", "message"),
    [
        (
            "failing_service",
            "failing_service could not sign: ConnectionError: no route to the key. Correct the function",
        ),
        ("silent_service", "silent_service returned NoneType; it must return the signature as bytes"),
        ("PEM", "PEM could not sign: TypeError: .* is not callable"),
    ],
)
def test_a_key_service_that_fails_says_what_to_do(tmp_path: Path, service: str, message: str) -> None:
    certificate, _ = written(tmp_path, KEYS["es256"]())
    with pytest.raises(SettingsError, match=message):
        identity(tmp_path, certificate, None, f"tests.unit.test_certificates:{service}")


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificate, _ = written(tmp_path, KEYS["es256"]())
    other = tmp_path / "other"
    other.mkdir()
    _, key = written(other, KEYS["es256"]())
    with pytest.raises(SettingsError, match="does not belong to the certificate"):
        identity(tmp_path, certificate, key, None)
    with pytest.raises(SettingsError, match="does not belong to the certificate"):
        identity(tmp_path, certificate, None, "tests.unit.test_certificates:key_service")


@pytest.mark.parametrize(
    ("certificate", "key", "service", "message"),
    [
        ("c.pem", None, None, "set certificate together with either key or key_service"),
        (None, "c.key", None, "set certificate together with either key or key_service"),
        ("c.pem", "c.key", "m:f", "set certificate together with either key or key_service"),
        ("none.pem", "c.key", None, "certificate: .*none.pem cannot be read: No such file"),
        ("c.key", "c.key", None, "holds no certificate in PEM"),
        ("c.pem", "c.pem", None, "holds no private key in PEM"),
        ("c.pem", None, "no_such_module:f", "there is no function 'no_such_module:f'; write module:function"),
        ("c.pem", None, "os", "there is no function 'os'; write module:function"),
    ],
)
def test_half_an_identity_says_what_is_missing(
    tmp_path: Path, certificate: str | None, key: str | None, service: str | None, message: str
) -> None:
    written(tmp_path, KEYS["es256"]())
    paths = [str(tmp_path / name) if name else None for name in (certificate, key)]
    with pytest.raises(SettingsError, match=message):
        identity(tmp_path, *paths, service)
