"""Finds the records of one request in all segments, without reading every line as JSON."""

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from marloft.contract.segments import segments
from marloft.errors import DataError
from marloft.logs.read import check_schema

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:@-]{1,128}\Z")


class FoundRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record with the segment it is in.

    `record` has every field that was written, and None for those of its kind that were not.
    """

    segment: Path
    record: dict[str, Any]


def find(folder: Path, kind: type[msgspec.Struct], request_id: str) -> list[FoundRecord]:
    """Return the records of a request in the order of their times; torn lines are skipped.

    Args:
        folder: the folder of the segments.
        kind: what they hold, a type of `contract.records`.
        request_id: the id that an answer has.

    Raises:
        DataError: no request can have that id, or a record is of a newer schema.
    """
    if not _REQUEST_ID.match(request_id):
        raise DataError(
            f"{request_id!r} is not a request id: 1 to 128 of A-Z a-z 0-9 . _ : @ -; "
            "copy it from an answer."
        )
    absent: dict[str, Any] = dict.fromkeys(kind.__struct_fields__)
    found = [
        FoundRecord(segment=path, record=absent | record)
        for path in segments(folder)
        for record in _records(path, request_id)
    ]
    return sorted(found, key=lambda each: str(each.record.get("time", "")))


def _records(path: Path, request_id: str) -> Iterator[dict[str, Any]]:
    # An id of that form is never escaped in JSON, whoever wrote it.
    wanted = f'"{request_id}"'.encode()
    for line in _lines_with(path, wanted):
        try:
            record = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if record.get("request_id") == request_id:
            check_schema(path, record.get("schema"))
            yield record


def _lines_with(path: Path, wanted: bytes) -> Iterator[bytes]:
    with path.open("rb") as stream:
        if stream.seek(0, 2) == 0:
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            place = data.find(wanted)
            while place >= 0:
                start, stop = data.rfind(b"\n", 0, place) + 1, data.find(b"\n", place)
                if stop < 0:
                    return
                yield data[start:stop]
                place = data.find(wanted, stop)
