"""The logs: whole lines or an error, written as the newest release's policy says."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import xxhash

from marloft.contract.policy import LogPolicy
from marloft.contract.records import OutcomeRecord
from marloft.serving.log import FollowedPolicy, RecordLog, keeps_features, reduced, var_folder
from tests.unit.serving.writing import prediction, release

ROWS = [{"item_id": 50, "age": 31.50}, {"item_id": 3, "age": None, "zip": "8001"}]


class Clock:
    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("marloft.serving.log.time", clock)
    return clock


def _record(item: int) -> OutcomeRecord:
    return OutcomeRecord(time="t", request_id="r", item_id=item, event="click", value=None)


def test_records_are_lines_of_a_segment_of_their_own(tmp_path: Path) -> None:
    first, second = RecordLog(tmp_path / "log"), RecordLog(tmp_path / "log")
    first.append([_record(1), _record(2)])
    first.append([])
    second.append([_record(3)])
    first.close()
    second.close()
    assert first.path != second.path
    assert [json.loads(x)["item_id"] for x in first.path.read_text().splitlines()] == [1, 2]


_FULL_DISK = """
import resource, sys
from pathlib import Path
from marloft.contract.records import OutcomeRecord
from marloft.serving.log import RecordLog
record = OutcomeRecord(time="t", request_id="r", item_id=1, event="click", value=None)
log = RecordLog(Path(sys.argv[1]))
log.append([record])
size = log.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (2 * size + 10, resource.RLIM_INFINITY))
try:
    log.append([record] * 3)
except OSError as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    log.append([record])
    sys.exit(f"{error.strerror}; {log.path.read_bytes().count(bytes([10]))} lines")
"""


def test_write_cut_short_is_an_error_and_leaves_no_torn_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "of" in done.stderr and done.stderr.startswith("wrote ")
    assert done.stderr.endswith("; 2 lines\n")
    (segment,) = tmp_path.glob("*.jsonl")
    assert all(json.loads(line) for line in segment.read_text().splitlines())


def test_state_folder_is_the_named_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARLOFT_VAR", "/somewhere/var")
    assert var_folder() == Path("/somewhere/var")


def test_state_folder_without_a_name_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MARLOFT_VAR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    with caplog.at_level(logging.WARNING):
        assert var_folder() == Path("/state/marloft")
    assert "MARLOFT_VAR is not set: logs go to /state/marloft" in caplog.text


def test_policy_without_releases_is_the_default(tmp_path: Path) -> None:
    assert FollowedPolicy(tmp_path)() == LogPolicy()


def test_policy_is_the_newest_releases_within_a_second(tmp_path: Path, clock: Clock) -> None:
    release(tmp_path, 1, segment_mb=2)
    policy = FollowedPolicy(tmp_path)
    assert policy().segment_mb == 2
    for number in (2, 3):
        release(tmp_path, number, segment_mb=2 + number)
    clock.now_s += 0.9
    assert policy().segment_mb == 2
    clock.now_s += 0.2
    assert policy().segment_mb == 5


def test_first_release_is_seen_by_a_worker_that_started_without_one(
    tmp_path: Path, clock: Clock
) -> None:
    policy = FollowedPolicy(tmp_path)
    assert policy().fsync == "never"
    release(tmp_path, 1, fsync="batch")
    clock.now_s += 1.1
    assert policy().fsync == "batch"


def test_damaged_release_leaves_the_policy_before_and_is_said_once(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    release(tmp_path, 1, segment_mb=2)
    policy = FollowedPolicy(tmp_path)
    policy()
    (tmp_path / "releases" / "000002.json").write_text("{")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            clock.now_s += 1.1
            assert policy().segment_mb == 2
    assert caplog.text.count("Release 2 cannot be read") == 1


def features(**policy: Any) -> Any:
    (record,) = reduced([prediction("r-1", ROWS)], LogPolicy(**policy))
    return msgspec.json.decode(record.features)


def test_redacted_fields_have_no_value_and_the_others_the_clients_bytes() -> None:
    assert features(redact=["age", "zip", "absent"]) == [
        {"item_id": 50, "age": "[redacted]"},
        {"item_id": 3, "age": "[redacted]", "zip": "[redacted]"},
    ]
    raw = msgspec.Raw(b'[{"item_id": 1.50, "age": 3}]')
    record = msgspec.structs.replace(prediction("r-1"), features=raw)
    (kept,) = reduced([record], LogPolicy(redact=["age"]))
    assert bytes(kept.features) == b'[{"item_id":1.50,"age":"[redacted]"}]'


def test_redaction_leaves_a_body_that_could_not_be_read_alone() -> None:
    (record,) = reduced([prediction("r-1", None)], LogPolicy(redact=["age"]))
    assert bytes(record.features) == b"null"


def test_records_pass_untouched_when_nothing_is_left_out() -> None:
    records = [prediction("r-1", ROWS)]
    assert reduced(records, LogPolicy()) is records


def test_share_keeps_every_record_and_the_features_of_some() -> None:
    records = [prediction(f"r-{n}", ROWS) for n in range(2000)]
    kept = reduced(records, LogPolicy(features_share=0.25))
    assert [record.request_id for record in kept] == [record.request_id for record in records]
    with_features = sum(bytes(record.features) != b"null" for record in kept)
    # Binomial(2000, 0.25) has a standard deviation of 19.4.
    assert 400 < with_features < 600


def test_share_is_decided_by_the_id_alone_and_not_as_arms_are() -> None:
    ids = [f"r-{n}" for n in range(1000)]
    kept = {each for each in ids if keeps_features(each, 0.5)}
    assert kept == {each for each in ids if xxhash.xxh64_intdigest(each.encode(), seed=1) < 2**63}
    assert not any(keeps_features(each, 0.0) for each in ids)
    assert all(keeps_features(each, 1.0) for each in ids)
    unseeded = {each for each in ids if xxhash.xxh64_intdigest(each.encode()) < 2**63}
    assert 0.4 < len(kept & unseeded) / len(unseeded) < 0.6


def test_user_id_cannot_be_redacted() -> None:
    with pytest.raises(msgspec.ValidationError, match="user_id, which is not a feature"):
        msgspec.convert({"redact": ["age", "user_id"]}, LogPolicy)


def test_redaction_covers_parameters() -> None:
    asked = msgspec.structs.replace(
        prediction("r-1", ROWS), parameters={"language": "de", "top_k": 5}
    )
    (record,) = reduced([asked], LogPolicy(redact=["language"]))
    assert record.parameters == {"language": "[redacted]", "top_k": 5}
    (untouched,) = reduced([asked], LogPolicy(features_share=0.0))
    assert untouched.parameters == asked.parameters
    (none,) = reduced([prediction("r-1", ROWS)], LogPolicy(redact=["language"]))
    assert b"parameters" not in msgspec.json.encode(none)
