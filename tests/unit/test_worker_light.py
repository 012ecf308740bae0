"""What a worker imports is light: no training, data frame or statistics library."""

import subprocess
import sys

import pytest

from harness import factories

pytestmark = pytest.mark.slow


HEAVY = ("torch", "pandas", "polars", "duckdb", "fairlearn", "sklearn", "scipy", "onnx")
_LOAD = "import sys; sys.path.insert(0, 'handlers'); {imports}; print(*sys.modules)"


def _heavy_modules(imports: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _LOAD.format(imports=imports)],
        cwd=factories.REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    return [name for name in HEAVY if name in loaded]


HANDLERS = sorted(file.stem for file in (factories.REPOSITORY / "handlers").glob("*.py"))


@pytest.mark.parametrize("handler", HANDLERS)
def test_handler_with_its_onnx_runtime_imports_nothing_heavy(handler: str) -> None:
    assert _heavy_modules(f"import marloft.serving, marloft.runtimes.onnx, {handler}") == []


def test_check_catches_a_heavy_import() -> None:
    assert "torch" in _heavy_modules("import marloft.runtimes.torchscript")
