"""Names a forgotten person in `var/events.jsonl` by a digest, under a key that stays with the log.

The same person gets the same name again, so that a second request can be recognised. Whoever has
the key can try ids until one fits; without it the name says nothing, and with the key deleted
nobody can tell any more. https://www.rfc-editor.org/rfc/rfc2104
"""

import contextlib
import hmac
import secrets
from pathlib import Path

from marloft.contract.records import PREDICTIONS_FOLDER
from marloft.files import PRIVATE, write_new

_KEY_BYTES, _NAME_BYTES = 32, 16


def pseudonym(var: Path, user: str) -> str:
    """Return 32 hex digits for a user; the key, `var/log/forget.key`, is made when missing."""
    path = (var / PREDICTIONS_FOLDER).with_name("forget.key")
    with contextlib.suppress(FileExistsError):
        write_new(path, secrets.token_bytes(_KEY_BYTES), PRIVATE)
    return hmac.digest(path.read_bytes(), user.encode(), "sha256")[:_NAME_BYTES].hex()
