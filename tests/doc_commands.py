"""The commands of the documentation's fenced blocks, and what runs each of them."""

import ast
import re
from typing import NamedTuple

from harness.factories import REPOSITORY

MOST_MARKS = 15
RUNNER = "tests/e2e/test_doc_commands.py"
# Run by RUNNER in one project with one `marloft serve`, in this order.
SERVED = (
    *("README.md", "docs/releases.md", "docs/log.md", "docs/monitoring.md"),
    "monitoring/runbook.md",
)
# Run by RUNNER in a project of their own each.
ALONE = (
    *("docs/data.md", "docs/archive.md", "docs/experiment.md", "docs/fairness.md"),
    "docs/deliverables.md",
)
VERBATIM = {
    "docs/api.md": "tests/e2e/test_api_page.py",
    "docs/examples.md": "tests/e2e/test_examples.py",
    "docs/new.md": "tests/e2e/test_new.py",
    "docs/python.md": "tests/unit/tools/test_python_reference.py",
    "docs/runtimes.md": "tests/e2e/test_runtimes_page.py",
    "docs/schema.md": "tests/unit/cli/test_schema_page.py",
    "docs/stock-torchserve.md": "tests/e2e/test_stock_torchserve.py",
}
# Command → the file that runs it, and the words by which that file does.
ELSEWHERE = {
    "make demo": (".ci/run", "make demo"),
    "make test": (".ci/run", "make test"),
    "apt-get install --no-install-recommends buildah podman runc mmdebstrap": (
        ".ci/install-tools",
        "buildah podman runc mmdebstrap",
    ),
    "make test-container": (".ci/run", "make test-container"),
    "pip install marloft": ("tests/e2e/test_wheel.py", "pip_install(made, "),
    'python -c "from marloft.pages import shared_folder; print(shared_folder())"': (
        "tests/e2e/test_wheel.py",
        "from marloft.pages import shared_folder; print(shared_folder())",
    ),
}
# Command → how `make demo` runs it, which .ci/run does; options left out there have that value.
BY_DEMO = {
    "marloft data fetch": "marloft data fetch",
    "marloft data prepare": "marloft data prepare",
    "torchrun --nproc-per-node 2 training/train.py --config training/config.yaml": (
        "torchrun --nproc-per-node 2 training/train.py"
    ),
    "python training/export.py --run build/train --out build/export": "python training/export.py",
    "python training/distil.py --config training/distil.yaml": "python training/distil.py",
    "python training/quantize.py --run build/train --export build/export": (
        "python training/quantize.py"
    ),
    # With a tenth of the runs.
    "python training/benchmark.py --run build/train --export build/export": (
        "python training/benchmark.py --quick"
    ),
}
_PROGRAMS = {
    *("curl", "docker", "kubectl", "locust", "make", "marloft", "pip", "prometheus", "promtool"),
    *("pytest", "python", "torchrun", "torchserve", "torch-model-archiver"),
}
_MARK = re.compile(r"^(?:<!-- )?not covered by the tests: (needs .*?)(?: -->)?$", re.IGNORECASE)
_FENCE = re.compile(r"^ *```(\w*)")
_DRAWN = re.compile("[\u2500-\u257f]")


class Command(NamedTuple):
    """A command of a page; `line` is its first, `mark` what it needs that no test has."""

    page: str
    line: int
    text: str
    printed: tuple[str, ...]
    mark: str

    @property
    def words(self) -> str:
        """The command in one line, without its comment."""
        return re.sub(r"\s+# .*$", "", re.sub(r"\\\n\s*", "", self.text))


class _Block(NamedTuple):
    language: str
    line: int
    lines: list[str]
    mark: str


def pages() -> list[str]:
    """Return the pages that hold commands, relative to the repository."""
    folders = ("docs", "k8s", "model_store", "monitoring")
    found = [path for name in folders for path in sorted((REPOSITORY / name).rglob("*.md"))]
    return ["README.md", *(str(path.relative_to(REPOSITORY)) for path in found)]


def read(page: str) -> list[Command]:
    """Return the commands of a page of the repository."""
    return commands(page, (REPOSITORY / page).read_text())


def commands(page: str, text: str) -> list[Command]:
    """Return the commands of a page: shell lines, and whole blocks of Python."""
    found: list[Command] = []
    for block in _blocks(text):
        if block.language == "python":
            code = "\n".join(["python - <<'PY'", *block.lines, "PY"])
            found.append(Command(page, block.line + 1, code, (), block.mark))
        else:
            found += _shell(page, block)
    return found


def marks(text: str) -> int:
    """Return how many blocks of a page are marked as not covered."""
    return sum(bool(block.mark) for block in _blocks(text))


def run_by(command: Command) -> str:
    """Return the test or script that runs a command, or its mark; "" when nothing does."""
    if command.mark:
        return command.mark
    if command.words in ELSEWHERE:
        return ELSEWHERE[command.words][0]
    if command.words in BY_DEMO:
        return "make demo"
    if command.page in VERBATIM:
        return VERBATIM[command.page]
    return RUNNER if command.page in (*SERVED, *ALONE) else ""


def complaints(found: list[Command]) -> list[str]:
    """Return a line for each command that nothing runs."""
    return [
        f"{each.page}:{each.line}: no test runs `{each.words}`; see tests/doc_commands.py"
        for each in found
        if not run_by(each)
    ]


def demo_commands() -> set[str]:
    """Return the commands of the demo's steps, those that are made of constants."""
    tree = ast.parse((REPOSITORY / "src" / "marloft" / "demo" / "steps.py").read_text())
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="run"), args=words):
                if all(isinstance(word, ast.Constant) for word in words):
                    found.add(" ".join(ast.literal_eval(word) for word in words))
    return found


def other_than_default(command: str, by_demo: str) -> list[str]:
    """Return the options of a recipe's command that neither the demo nor the recipe has so."""
    found: list[str] = []
    for name, value in re.findall(r"(--\S+) ([^-\s]\S*)", command):
        if f"{name} {value}" not in by_demo:
            (recipe,) = re.findall(r"\btraining/\w+\.py\b", command)
            default = f'"{name}", type=Path, default=Path("{value}")'
            if default not in (REPOSITORY / recipe).read_text():
                found.append(f"{name} {value}")
    return found


def _blocks(text: str) -> list[_Block]:
    found: list[_Block] = []
    lines, block = text.splitlines(), None
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if block is None and fence:
            mark = _MARK.match(lines[number - 2]) if number > 1 else None
            block = _Block(fence[1], number, [], mark[1] if mark else "")
        elif block is not None and fence:
            found.append(block)
            block = None
        elif block is not None:
            block.lines.append(line)
    return found


def _shell(page: str, block: _Block) -> list[Command]:
    found: list[Command] = []
    rest = list(enumerate(block.lines, start=block.line + 1))
    while rest:
        number, line = rest.pop(0)
        text = _command(block, line)
        if text:
            while text.endswith("\\") and rest:
                text += "\n" + rest.pop(0)[1]
            found.append(Command(page, number, text, (), block.mark))
        elif found:
            last = found[-1]
            found[-1] = last._replace(printed=(*last.printed, line))
    return found


def _command(block: _Block, line: str) -> str:
    """Return the command that begins in a line of a block, "" when it is something else."""
    match block.language:
        case "console":
            return line[2:] if line.startswith(("$ ", "# ")) else ""
        case "bash" | "sh":
            return "" if not line.strip() or line.startswith("#") else line
        case "":
            drawn = any(_DRAWN.search(each) for each in block.lines)
            return line if not drawn and line.split(" ", maxsplit=1)[0] in _PROGRAMS else ""
    return ""
