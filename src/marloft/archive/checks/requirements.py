"""The packages an archive's code needs: pip's file of them, compared with what is installed.

https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidName, canonicalize_name

from marloft.errors import ConfigError
from marloft.text_files import read_text


def read_requirements(path: Path) -> dict[str, str]:
    """Return package → version range, as `archive.json` keeps them.

    Raises:
        ConfigError: a line is no requirement with a version range, or is an option or a URL, which
            would make the archive depend on this machine.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        text = line.partition(" #")[0].strip()
        if not text or text.startswith("#"):
            continue
        try:
            wanted = Requirement(text)
        except InvalidRequirement:
            raise ConfigError(
                f"{path}:{number}: {text!r} is no requirement; write NAME with a version range, "
                "such as scikit-learn==1.9.*."
            ) from None
        if wanted.url or wanted.marker or wanted.extras or not wanted.specifier:
            raise ConfigError(
                f"{path}:{number}: {text!r} has an extra, a URL or a marker, or no version range; "
                f"write {wanted.name}{_pinned(wanted.name)}."
            )
        found[canonicalize_name(wanted.name)] = str(wanted.specifier)
    return found


def unmet(requires: Mapping[str, str]) -> str | None:
    """Return in words the first requirement that what is installed does not meet, else None.

    Args:
        requires: package → version range; `marloft` itself is compared elsewhere.
    """
    for name, wanted in sorted(requires.items()):
        if name == "marloft":
            continue
        try:
            canonicalize_name(name, validate=True)
            specifier = SpecifierSet(wanted)
        except InvalidName:
            return f"{name!r} is no package's name"
        except InvalidSpecifier:
            return f"{name} {wanted!r} is no version range"
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            return f"{name}{wanted} is not installed"
        if not specifier.contains(version, prereleases=True):
            return f"needs {name}{wanted}; {version} is installed"
    return None


def _pinned(name: str) -> str:
    try:
        return f"=={metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return "==VERSION"
