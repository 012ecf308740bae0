"""Signatures of archives, next to them in `<archive>.mar.sig`: keys, signing, checking.

The bundle is OpenSSF model signing's (https://github.com/sigstore/model-transparency): an in-toto
statement with the archive's SHA-256 in a DSSE envelope, signed by an elliptic-curve key. Any tool
of that format can check it; `model_signing verify key` does.
"""

import contextlib
import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import Any

from msgspec import Struct

from marloft.contract.check import Check
from marloft.errors import ArchiveError, ConfigError
from marloft.extras import missing_extra
from marloft.files import write_atomic, write_new

# Both libraries are of the extra `sign` and take half a second: only who signs or checks has them.
# ruff: noqa: PLC0415
PRIVATE_KEY, PUBLIC_KEY = "marloft.key", "marloft.pub"
_CODE = "MRL016"
_LARGEST = 1 << 20
# What model-signing raises for a bundle that is not one, or not of these bytes, besides
# cryptography's InvalidSignature.
_REFUSALS = (ValueError, KeyError, TypeError, AttributeError, IndexError, OSError, RecursionError)


class KeyPair(Struct, frozen=True, kw_only=True):
    """Where a new key pair lies; `fingerprint` is the SHA-256 of the public PEM, 64 hex digits."""

    private: str
    public: str
    fingerprint: str


class Signature(Struct, frozen=True, kw_only=True):
    """One signature: its file, the archive it is for, and the key's fingerprint."""

    archive: str
    signature: str
    fingerprint: str


def signature_path(archive: Path) -> Path:
    """Return where an archive's signature lies: `<archive>.sig`."""
    return archive.with_name(archive.name + ".sig")


def new_keys(folder: Path) -> KeyPair:
    """Write an EC P-256 key pair as PEM: `marloft.key` (mode 0600, PKCS 8) and `marloft.pub`.

    Raises:
        ConfigError: one of the two files exists; a lost private key cannot be made again.
    """
    _need_model_signing()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private, public = folder / PRIVATE_KEY, folder / PUBLIC_KEY
    for path in (private, public):
        if path.exists():
            raise ConfigError(f"{path} exists; keys are never overwritten: name another --out.")
    key = ec.generate_private_key(ec.SECP256R1())
    folder.mkdir(parents=True, exist_ok=True)
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    # Never readable by others, not for a moment: files.write_atomic would open it at the end.
    with os.fdopen(os.open(private, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as stream:
        stream.write(secret)
    pem = _pem(key.public_key())
    write_new(public, pem)
    return KeyPair(
        private=str(private), public=str(public), fingerprint=hashlib.sha256(pem).hexdigest()
    )


def sign(archive: Path, key: Path) -> Signature:
    """Sign an archive's bytes with a private key; the signature replaces an older one.

    Checks nothing about the archive: `marloft sign` verifies it first.

    Raises:
        ArchiveError: there is no such archive.
        ConfigError: there is no such key, or it is no EC key without a password; or
            model-signing is not installed.
    """
    signing, _ = _need_model_signing()
    if not archive.is_file():
        raise ArchiveError(f"{archive} is no file; build it with `marloft pack`.")
    fingerprint = hashlib.sha256(_public_of(key)).hexdigest()
    config = signing.Config().use_elliptic_key_signer(private_key=key)
    path = signature_path(archive)
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".sign-") as scratch:
        made = Path(scratch) / path.name
        config.sign(archive, made)
        write_atomic(path, made.read_bytes())
    return Signature(archive=str(archive), signature=str(path), fingerprint=fingerprint)


def check_signature(archive: Path, public_key: Path) -> Check:
    """Check that the archive's signature is there, and by `public_key` over these bytes.

    Raises:
        ConfigError: `public_key` is no public EC key; or model-signing is not installed.
    """
    _, verifying = _need_model_signing()
    from cryptography.exceptions import InvalidSignature

    config = _verifier(verifying, public_key)
    path = signature_path(archive)
    if not path.is_file():
        return Check.failed(_CODE, path.name, f"{archive.name} is not signed")
    if path.stat().st_size > _LARGEST:
        return Check.failed(_CODE, path.name, f"is larger than {_LARGEST:,} bytes: no signature")
    try:
        # The library prints a warning about old bundles.
        with contextlib.redirect_stdout(io.StringIO()):
            config.verify(archive, path)
    except InvalidSignature:
        return Check.failed(_CODE, path.name, f"is not a signature by {public_key}")
    except _REFUSALS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        return Check.failed(
            _CODE, path.name, f"does not hold for these bytes and {public_key}: {reason}"
        )
    return Check.passed(_CODE, f"signed by {public_key}")


def _need_model_signing() -> tuple[Any, Any]:
    try:
        from model_signing import signing, verifying
    except ModuleNotFoundError as error:
        told = missing_extra(error, "a signature")
        if told is None:
            raise
        raise ConfigError(told) from None
    return signing, verifying


def _verifier(verifying: Any, public_key: Path) -> Any:
    if not public_key.is_file():
        raise ConfigError(f"{public_key} is no file; name the public key, {PUBLIC_KEY}.")
    try:
        return verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"{public_key} is no public EC key in PEM form ({error}); make a pair with "
            "`marloft keys new`."
        ) from None


def _public_of(key: Path) -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    if not key.is_file():
        raise ConfigError(f"{key} is no file; make a pair with `marloft keys new`.")
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{key} is no private key in PEM form without a password: {error}"
        ) from None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{key} is no EC key; make a pair with `marloft keys new`.")
    return _pem(private.public_key())


def _pem(public: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    pem: bytes = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem
