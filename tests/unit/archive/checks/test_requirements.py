"""What an archive needs: read strictly, compared with what is installed."""

from importlib import metadata
from pathlib import Path

import pytest

from marloft.archive.checks.requirements import read_requirements, unmet
from marloft.errors import ConfigError


def _read(folder: Path, text: str) -> dict[str, str]:
    path = folder / "requirements.txt"
    path.write_text(text)
    return read_requirements(path)


def test_lines_are_read_by_their_normal_name(tmp_path: Path) -> None:
    text = "# what the handler needs\nScikit_Learn==1.9.*  # trees\n\nnumpy>=2,<3\n"
    assert _read(tmp_path, text) == {"scikit-learn": "==1.9.*", "numpy": "<3,>=2"}


@pytest.mark.parametrize(
    "line", ["numpy", "numpy @ file:///x", "numpy[x]==1", "numpy==1; sys_platform == 'linux'"]
)
def test_line_that_depends_on_the_machine_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=rf"txt:1: .*write numpy=={metadata.version('numpy')}"):
        _read(tmp_path, line)


@pytest.mark.parametrize("line", ["-r other.txt", "--index-url x", "==1.0"])
def test_line_that_is_no_requirement_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match="is no requirement; write NAME with a version range"):
        _read(tmp_path, f"\n{line}")


def test_met_requirements_are_fine() -> None:
    assert unmet({"marloft": ">=99", "numpy": f"=={metadata.version('numpy')}"}) is None


@pytest.mark.parametrize(
    ("requires", "fault"),
    [
        ({"numpy": "<1"}, "needs numpy<1; "),
        ({"no-such-package": ">=1"}, "no-such-package>=1 is not installed"),
        ({"": ">=1"}, "'' is no package's name"),
        ({"../numpy\0": ">=1"}, "is no package's name"),
        ({"numpy": "newest"}, "'newest' is no version range"),
    ],
)
def test_unmet_requirement_is_named(requires: dict[str, str], fault: str) -> None:
    assert fault in str(unmet(requires))
