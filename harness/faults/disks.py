"""Full and read-only disks, of small ones that are mounted for it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from harness.faults.fault import Fault, run_program

_FILLER = ".filler"
_DISK_MB = 64
# Parts of the state folder that have a disk of their own; the first is the folder itself.
_PARTS = ("", "log/predictions", "log/torchserve", "run", "releases")


@contextmanager
def small_disks(var: Path, temporary: Path) -> Iterator[None]:
    """Give the state folder, its parts and the temporary folder a disk of 64 MiB each; as root."""
    with ExitStack() as stack:
        for path in (*_disks(var), temporary):
            path.mkdir(parents=True, exist_ok=True)
            run_program("mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(path))
            stack.callback(run_program, "umount", "--lazy", str(path))
        yield


def disk_faults(var: Path, temporary: Path) -> Iterator[Fault]:
    """Return a full disk of each folder, and a state folder that is read-only."""
    full = {f"var/{name}": [var / name] for name in _PARTS[1:]}
    full = {"var with all in it": _disks(var), **full, "the temporary folder": [temporary]}
    for name, folders in full.items():
        yield Fault(
            name=f"disk full: {name}",
            named="space|full|disk",
            begin=partial(_fill, folders),
            end=partial(_empty, folders),
            # Nothing is written to these while serving goes on, only when something is decided.
            harmless=name in ("var/releases", "the temporary folder"),
        )
    yield Fault(
        name="read-only: var with all in it",
        named="read-only",
        begin=partial(_make_read_only, var),
        end=partial(_make_writable, var),
    )


def _disks(var: Path) -> list[Path]:
    return [var / name for name in _PARTS]


def _fill(folders: Sequence[Path]) -> None:
    """Write until not a byte more fits."""
    for folder in folders:
        with (folder / _FILLER).open("wb", buffering=0) as filler:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while filler.write(b"\0" * size):
                        pass
                except OSError:
                    continue


def _empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        (folder / _FILLER).unlink()


def _make_read_only(var: Path) -> None:
    """Put a read-only view over the folder: what is open stays so, all else is refused.

    The disks themselves cannot be made read-only while files on them are open for writing.
    """
    for part in _disks(var)[1:]:
        run_program("mount", "--bind", str(part), str(part))
        run_program("mount", "-o", "remount,bind,ro", str(part))
    run_program("mount", "--rbind", str(var), str(var))
    run_program("mount", "-o", "remount,bind,ro", str(var))


def _make_writable(var: Path) -> None:
    run_program("umount", "--lazy", str(var))
    for part in reversed(_disks(var)[1:]):
        run_program("umount", "--lazy", str(part))
