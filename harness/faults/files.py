"""State files with other bytes, cut off, and as a folder, which nobody can read, root neither."""

import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from harness.faults.fault import Fault, nothing
from harness.faults.processes import PROCESSES, send
from harness.ranker_serving import RankerServing

# A file that is read at a start may be told of by the process that was started.
_TOLD_BY = {"run/config.properties": "|TorchServe", "run/envoy.json": "|Envoy|gateway"}


def file_faults(serving: RankerServing) -> Iterator[Fault]:
    """Return each damage of each state file there is."""
    newest = f"releases/{serving.live():06}.json"
    kill = {name: partial(send, serving, PROCESSES[name][0], signal.SIGKILL) for name in PROCESSES}
    # What has to happen for the file to be read: some are at a start only.
    read_when: dict[str, Callable[[], object]] = {
        newest: nothing,
        "run/live.json": nothing,
        "run/routes/routes.json": nothing,
        "run/routes/clusters.json": nothing,
        "run/allocation/lifecycle.json": nothing,
        "events.jsonl": nothing,
        "run/config.properties": kill["Java"],
        "run/envoy.json": kill["Envoy"],
        "run/processes/torchserve.json": serving.end_at_once,
        "run/processes/envoy.json": serving.end_at_once,
        "lock": serving.end_at_once,
    }
    for name, then in read_when.items():
        if (serving.var / name).is_file():
            for form, damage in _DAMAGES.items():
                found = _damaged(serving.var / name, form, damage, then)
                ends = then == serving.end_at_once
                more = "|marloft serve" if ends else _TOLD_BY.get(name, "")
                yield replace(found, restarts=ends, named=found.named + more)


def _damaged(
    path: Path,
    form: str,
    damage: Callable[[Path], None],
    then: Callable[[], object],
) -> Fault:
    """Return a damaged file; the truth is put back in the end, the rest has to be written again."""
    is_truth = path.parent.name == "releases"
    kept: list[bytes] = []

    def begin() -> None:
        kept[:] = [path.read_bytes()]
        damage(path)
        then()

    def end() -> None:
        if path.is_dir():
            path.rmdir()
        if is_truth:
            path.write_bytes(kept[0])

    return Fault(
        name=f"{'newest release' if is_truth else f'{path.parent.name}/{path.name}'}: {form}",
        named=path.name,
        begin=begin,
        end=end,
        brief=then is not nothing,
        # What is written again within seconds need not be told of.
        harmless=not is_truth and form != "a folder",
        hold_s=4.0,
    )


def _other_bytes(path: Path) -> None:
    path.write_bytes(b"\x00\xff{not what it was\n")


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


_DAMAGES: dict[str, Callable[[Path], None]] = {
    "other bytes": _other_bytes,
    "cut off": _cut_off,
    "a folder": _a_folder,
}
