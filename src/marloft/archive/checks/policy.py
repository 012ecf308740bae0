"""Whether an archive proves what a policy asks for: a signature, a fairness audit."""

import zipfile
from pathlib import Path

from marloft.archive.checks.documents import check_fairness
from marloft.archive.checks.layout import UNREADABLE
from marloft.archive.manifest import read_manifest
from marloft.archive.sign import check_signature, signature_path
from marloft.contract.audit import FAIRNESS_JSON
from marloft.contract.check import Check
from marloft.contract.policy import TrustPolicy
from marloft.errors import ArchiveError, ConfigError


def check_policy(path: Path, policy: TrustPolicy) -> list[Check]:
    """Check an archive's origin: MRL016 its signature, MRL017 its audit.

    Reads `archive.json` and `fairness.json` and runs nothing; `verify` asks it once the form and
    the hashes of the archive have been found good.

    Args:
        path: the archive; its signature lies next to it.
        policy: what is asked for; `public_key` is a path as it stands.

    Raises:
        ConfigError: the policy's public key is not usable.
    """
    return [_signature(path, policy), _audit(path, policy)]


def _signature(path: Path, policy: TrustPolicy) -> Check:
    signature = signature_path(path)
    required = policy.signature == "required"
    if policy.public_key is not None and (required or signature.exists()):
        return check_signature(path, Path(policy.public_key))
    if not required:
        seen = (
            "a signature, and no public key to check it" if signature.exists() else "no signature"
        )
        return Check.passed("MRL016", f"none required; there is {seen}")
    return Check.failed(
        "MRL016", signature.name, "required, and no public key was given to check it"
    )


def _audit(path: Path, policy: TrustPolicy) -> Check:
    if policy.fairness is None:
        return Check.passed("MRL017", "no audit required")
    try:
        manifest = read_manifest(path)
        with zipfile.ZipFile(path) as archive:
            found = check_fairness(archive.read(FAIRNESS_JSON), manifest.artifact_sha256)
    except KeyError:
        return Check.failed("MRL017", FAIRNESS_JSON, "the policy wants an audit, and there is none")
    except (ArchiveError, ConfigError, *UNREADABLE) as error:
        return Check.failed("MRL017", FAIRNESS_JSON, str(error))
    return Check.passed("MRL017", found)
