"""Every code that a check can report is documented, and no other."""

import re

from harness import factories

_CODE = re.compile(r"MRL\d{3}")


def test_documented_codes_are_those_of_the_checks() -> None:
    sources = (factories.REPOSITORY / "src" / "marloft" / "archive").rglob("*.py")
    reported = {code for source in sources for code in _CODE.findall(source.read_text())}
    page = (factories.REPOSITORY / "docs" / "archive.md").read_text()
    documented = re.findall(r"^\| (MRL\d{3}) \|", page, re.MULTILINE)
    assert documented == sorted(reported)
