"""A check's verdict: four facts, none of which can be left out."""

import msgspec
import pytest

from marloft.contract.check import Check

CHECK = Check(code="MRL006", ok=False, culprit="ranker.py", message="the member was changed")


def test_check_reads_back_as_it_was_written() -> None:
    assert msgspec.json.decode(msgspec.json.encode(CHECK), type=Check) == CHECK


@pytest.mark.parametrize("field", ["code", "ok", "culprit", "message"])
def test_check_without_one_of_its_facts_is_refused(field: str) -> None:
    facts = msgspec.to_builtins(CHECK)
    del facts[field]
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert(facts, Check)
