"""With which certificate and key a deliverable is signed: those that are set, or self-made ones that say so.

A key may also be kept by a service: then a function is named that signs bytes, and the key is never seen here.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edits.errors import SettingsError

DEVELOPMENT = "samaflow development certificate (self-made, untrusted)"
"""Common name of the certificate that is made when none is set."""

YEARS = 10

Sign = Callable[[bytes], bytes]
"""Signs bytes; ECDSA signatures are r and s side by side, as COSE has them."""


@dataclass(frozen=True)
class Identity:
    """Who signs."""

    algorithm: str
    """`es256`, `es384`, `ps256` or `ed25519`, as the certificate's key has it."""
    chain: str
    """Certificates in PEM, the signer's own first."""
    name: str
    """Common name of the signer's certificate, else its organisation, else its whole subject."""
    sign: Sign
    development: bool
    """Whether the certificate is the self-made one."""


def identity(folder: Path, certificate: str | None, key: str | None, key_service: str | None) -> Identity:
    """The identity that is set; without any, a development one that is made once in `folder`.

    Raises:
        SettingsError: half of it is set, a file cannot be read, the certificate is not valid now or its key is of a
            kind that credentials do not allow, the key service fails, or key and certificate do not belong together.
    """
    if certificate is None and key is None and key_service is None:
        certificate, key = _development(folder)
    if certificate is None or (key is None) == (key_service is None):
        raise SettingsError(
            "[credentials]: set certificate together with either key or key_service, or none of the three"
        )
    chain = _read(certificate, "certificate")
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
    except (ValueError, IndexError) as error:
        raise SettingsError(f"[credentials] certificate: {certificate} holds no certificate in PEM") from error
    if wrong := out_of_time(leaf):
        raise SettingsError(f"[credentials] certificate: {certificate} {wrong}. Set one that is valid, or sign = false")
    algorithm = algorithm_of(leaf)
    sign = _service(key_service) if key_service is not None else _signing(_private_key(str(key)))
    _check_pair(leaf, sign, key or key_service or "")
    name = name_of(leaf)
    return Identity(algorithm, chain.decode(), name, sign, development=name == DEVELOPMENT)


def name_of(certificate: x509.Certificate) -> str:
    """Whose it is: common name, else organisation, else the whole subject as RFC 4514 writes it."""
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in certificate.subject.get_attributes_for_oid(oid):
            return str(attribute.value)
    return certificate.subject.rfc4514_string()


def out_of_time(certificate: x509.Certificate) -> str:
    """What is wrong with the certificate's dates now; empty when it is valid."""
    now, begins, ends = datetime.now(UTC), certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        return f"is not yet valid: it begins at {begins:%Y-%m-%d %H:%M} UTC"
    return f"expired at {ends:%Y-%m-%d %H:%M} UTC" if now > ends else ""


def _read(path: str, what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"[credentials] {what}: {path} cannot be read: {error.strerror}") from error


def _private_key(path: str) -> Any:
    try:
        return serialization.load_pem_private_key(_read(path, "key"), password=None)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"[credentials] key: {path} holds no private key in PEM without a password") from error


def _service(name: str) -> Sign:
    module, _, function = name.partition(":")
    try:
        found: Sign = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"[credentials] key_service: there is no function {name!r}; write module:function"
        ) from error
    return lambda data: _asked(name, found, data)


def _asked(name: str, service: Sign, data: bytes) -> bytes:
    try:
        signature = service(data)
    except Exception as error:  # whatever a function of somebody else's raises
        raise SettingsError(
            f"[credentials] key_service: {name} could not sign: {type(error).__name__}: {error}. Correct the function "
            "or what it talks to, or turn credentials off with sign = false"
        ) from error
    if not isinstance(signature, bytes):
        raise SettingsError(
            f"[credentials] key_service: {name} returned {type(signature).__name__}; "
            "it must return the signature as bytes"
        )
    return signature


def _check_pair(leaf: x509.Certificate, sign: Sign, where: str) -> None:
    probe = b"samaflow"
    if not signed_by(leaf, sign(probe), probe):
        raise SettingsError(f"[credentials]: the key {where} does not belong to the certificate")


# -- algorithms -------------------------------------------------------------------------------------------------------

_CURVES = (256, 384)
"""Bits of the elliptic curves whose keys sign here: P-256 and P-384."""

_RSA_BITS = 2048


def algorithm_of(certificate: x509.Certificate) -> str:
    """The algorithm that the certificate's key signs with.

    Raises:
        SettingsError: none that content credentials allow.
    """
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size in _CURVES:
        return f"es{key.curve.key_size}"
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _RSA_BITS:
            raise SettingsError(
                f"[credentials] certificate: its RSA key has {key.key_size} bits; C2PA asks for {_RSA_BITS} or more"
            )
        return "ps256"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519"
    raise SettingsError("[credentials] certificate: its key must be P-256, P-384, RSA or Ed25519")


def _signing(key: Any) -> Sign:
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size in _CURVES:
        width = key.curve.key_size // 8
        digest = _digest(key.curve.key_size)

        def sign_ecdsa(data: bytes) -> bytes:
            r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
            return r.to_bytes(width, "big") + s.to_bytes(width, "big")

        return sign_ecdsa
    if isinstance(key, rsa.RSAPrivateKey):
        return lambda data: key.sign(data, _PSS, hashes.SHA256())
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign
    raise SettingsError("[credentials] key: it must be P-256, P-384, RSA or Ed25519")


_PSS = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)


def _digest(bits: int) -> hashes.HashAlgorithm:
    return hashes.SHA384() if bits == 384 else hashes.SHA256()


def signed_by(certificate: x509.Certificate, signature: bytes, data: bytes) -> bool:
    """Whether the certificate's key made `signature` over `data`."""
    key = certificate.public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            half = len(signature) // 2
            r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
            key.verify(encode_dss_signature(r, s), data, ec.ECDSA(_digest(key.curve.key_size)))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, _PSS, hashes.SHA256())
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            return False
    except InvalidSignature:
        return False
    return True


# -- the self-made one ------------------------------------------------------------------------------------------------


def _development(folder: Path) -> tuple[str, str]:
    """Paths of certificate chain and key, made the first time. The key is for this user's eyes only."""
    chain, key = folder / "development.pem", folder / "development.key"
    if not chain.exists():
        made_chain, made_key = _made()
        folder.mkdir(parents=True, exist_ok=True)
        # The key first and the chain in one step: two flows that do this at once still end with a pair.
        pair = folder / f".{os.getpid()}"
        _write_private(pair.with_suffix(".key"), made_key)
        pair.with_suffix(".pem").write_bytes(made_chain)
        pair.with_suffix(".key").replace(key)
        pair.with_suffix(".pem").replace(chain)
    return str(chain), str(key)


def _write_private(path: Path, data: bytes) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)


def _made() -> tuple[bytes, bytes]:
    """A signing certificate and the authority that issued it, which is thrown away: C2PA refuses one that is both."""
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _subject("samaflow development authority (self-made)")
    root = _builder(issuer, issuer, authority.public_key())
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = root.add_extension(_usage(signs_certificates=True), critical=True)
    leaf = _builder(_subject(DEVELOPMENT), issuer, key.public_key())
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(_usage(signs_certificates=False), critical=True)
    leaf = leaf.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    known = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key())
    leaf = leaf.add_extension(known, critical=False)
    pem = serialization.Encoding.PEM
    chain = b"".join(cert.sign(authority, hashes.SHA256()).public_bytes(pem) for cert in (leaf, root))
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return chain, key.private_bytes(pem, *private)


def _subject(name: str) -> x509.Name:
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "samaflow development")
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), organisation])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=365 * YEARS))
    return made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
