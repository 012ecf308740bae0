"""Checks that apply an archive's own patterns and JSON Schemas, in a process that can be ended.

A regular expression such as `(a+)+$`, or a `$ref` that fans out, keeps Python busy for ever. So the
checks of an archive that has any are run by `python -m marloft.archive.checks.bounded`.
"""

import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from marloft.archive.checks.contents import UNUSABLE, Content, check_golden, check_schema
from marloft.contract.check import Check
from marloft.contract.manifest import ARCHIVE_JSON, SCHEMA_JSON, Manifest
from marloft.contract.response import ObjectResponse
from marloft.files import parse_json

CPU_S = 10
_WALL_S = 60.0
_MEMORY_BYTES = 8 << 30
_CHECKS: dict[str, Callable[[Content, Manifest], Check]] = {
    "MRL008": check_schema,
    "MRL009": check_golden,
}


def bounded_check(code: str, content: Content, manifest: Manifest, path: Path) -> Check:
    """Return the check `MRL008` or `MRL009` of an archive, failed when it takes too long."""
    if not _has_patterns(content, manifest):
        return _CHECKS[code](content, manifest)
    command = [sys.executable, "-I", "-B", "-m", __name__, code, str(path.resolve())]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=_WALL_S)
        return msgspec.json.decode(done.stdout, type=Check)
    except (subprocess.SubprocessError, msgspec.DecodeError):
        text = f"its patterns and schemas take more than {CPU_S} s to apply, or too much memory"
        return Check.failed(code, ARCHIVE_JSON, text)


def _has_patterns(content: Content, manifest: Manifest) -> bool:
    if isinstance(manifest.declared_response, ObjectResponse):
        return True
    if SCHEMA_JSON not in content.names:
        return False
    try:
        # Written anew, so that no escape hides the word.
        schema = msgspec.json.encode(msgspec.json.decode(content.bytes_of(SCHEMA_JSON)))
    except UNUSABLE:
        return False
    return b'"pattern"' in schema


def _main(code: str, path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    with zipfile.ZipFile(path) as archive:
        content = Content(archive=archive)
        manifest = parse_json(content.bytes_of(ARCHIVE_JSON), Manifest, ARCHIVE_JSON)
        sys.stdout.buffer.write(msgspec.json.encode(_CHECKS[code](content, manifest)))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
