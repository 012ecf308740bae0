"""The files from which Envoy discovers its routes and clusters, and what each says of itself.

Envoy watches their folder for renames, and says of each file the version that it has taken.
https://www.envoyproxy.io/docs/envoy/v1.37.0/api-docs/xds_protocol
"""

import hashlib
from pathlib import Path

import msgspec
from msgspec import Struct

from marloft.deploy.gateway.envoy_config import Json
from marloft.files import PRIVATE, to_json, write_atomic

# Next to the route file, in the folder that Envoy watches.
CLUSTERS_FILE = "clusters.json"
_DIGITS = 12


def discovery_response(label: str, resources: list[Json]) -> bytes:
    """Return a file's content; its version is `label` and a hash of all that it says."""
    digest = hashlib.sha256(to_json({"resources": resources})).hexdigest()[:_DIGITS]
    return to_json({"version_info": f"{label}#{digest}", "resources": resources})


def file_version(content: bytes) -> str:
    """Return the version that a file gives itself, "" when it cannot be read."""
    try:
        return msgspec.json.decode(content, type=_Rendered).version_info
    except msgspec.DecodeError:
        return ""


class _Rendered(Struct, frozen=True, kw_only=True):
    version_info: str


def write_file(path: Path, content: bytes) -> None:
    """Put a file in place by rename, which is what Envoy watches the folder for."""
    write_atomic(path, content, PRIVATE)
