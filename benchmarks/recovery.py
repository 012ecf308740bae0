"""Part C of `benchmarks.hostile`: one fault after another under a steady load."""

import contextlib
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from msgspec import Struct

from benchmarks.hostile_rows import Survival
from benchmarks.judge import Judge, away_s
from harness.driver import Driver, SentRequest
from harness.faults.disks import small_disks
from harness.faults.fault import Fault
from harness.faults.others import every_fault
from harness.ranker_serving import MODEL, RankerServing
from harness.serving import run_marloft
from harness.soak import drive
from marloft.errors import ConfigError

RATE = 50.0
TOLD_S, STATUS_S, RECOVERED_S = 5.0, 5.0, 90.0
_ASK_S = 12.0
_INIT_S = 1.0
_DETAIL = re.compile(r'"detail":\s*"([^"]*)')
QUICK = (
    "SIGKILL: Envoy",
    "SIGKILL: the default's only worker",
    "SIGKILL: the supervisor",
    "routes/routes.json: other bytes",
)


class Seen(Struct, frozen=True, kw_only=True):
    """What was seen of one fault; `first` and `last` cut its requests out of all."""

    fault: Fault
    first: int
    last: int
    told: str
    told_s: float | None
    status_s: float
    recovered_s: float | None
    supervisor_ended: bool


def run(
    folder: Path, say: Callable[[str], None], *, quick: bool, only: str = ""
) -> Iterator[Survival]:
    """Serve from small disks, let one fault after another happen, and yield what became of each.

    `only` is a part of the names of the faults that are wanted.

    Raises:
        ConfigError: not root, who alone can mount them.
    """
    temporary = folder / "t"
    temporary.mkdir()
    if not quick and os.geteuid() != 0:
        raise ConfigError("faults need root, to mount small disks; run it with sudo.")
    # The short form has faults that need no disk of their own.
    disks = contextlib.nullcontext() if quick else small_disks(folder / "var", temporary)
    with disks:
        serving = RankerServing(folder)
        serving.environment |= {"TMPDIR": str(temporary)}
        seen, sent = _endure_all(serving, temporary, say, QUICK if quick else (), only)
        judge = Judge(serving.var, MODEL)
        for each in seen:
            yield judged(judge, each, sent[each.first : each.last])


def judged(judge: Judge, seen: Seen, sent: Sequence[SentRequest]) -> Survival:
    """Return what became of a fault's requests, and whether it was survived."""
    failed = Counter(_kind(each) for each in sent if each.status != 200)
    unavailable, refused = failed.pop("unavailable", 0), failed.pop("refused", 0)
    lost = judge.lost(sent)
    # What the console says has no time: the fault was over before anybody could ask.
    told = seen.told != "" and (seen.told_s is None or seen.told_s <= TOLD_S)
    quiet = seen.fault.harmless and not failed and not unavailable and not refused
    return Survival(
        fault=seen.fault.name,
        requests=len(sent),
        unavailable=unavailable,
        refused=refused,
        failed=dict(failed),
        away_s=round(away_s(sent), 2),
        lost=lost,
        told=seen.told,
        told_s=seen.told_s,
        status_s=seen.status_s,
        recovered_s=seen.recovered_s,
        supervisor_ended=seen.supervisor_ended,
        survived=(
            seen.recovered_s is not None
            and lost == 0
            and (told or quiet)
            and seen.status_s <= STATUS_S
            and not seen.supervisor_ended
        ),
    )


def _kind(sent: SentRequest) -> str:
    if sent.status == 503 and sent.retry_after:
        return "unavailable"
    if sent.status == 0 and "ConnectError" in sent.detail:
        return "refused"
    # A problem document names its request, so that no two are alike.
    detail = _DETAIL.search(sent.detail)
    return f"status {sent.status}: {detail[1] if detail else sent.detail}"


def _endure_all(
    serving: RankerServing,
    temporary: Path,
    say: Callable[[str], None],
    wanted: Sequence[str],
    only: str,
) -> tuple[list[Seen], list[SentRequest]]:
    seen: list[Seen] = []
    with serving, drive(serving.gateway, RATE) as driver, _Init(serving) as init:
        for fault in every_fault(serving, temporary):
            if (wanted and fault.name not in wanted) or only not in fault.name:
                continue
            seen.append(_endure(serving, driver, init, fault))
            say(_line(seen[-1], driver.sent))
            if seen[-1].recovered_s is None:
                say("starting everything again")
                init.start_afresh()
    return seen, driver.sent


def _endure(serving: RankerServing, driver: Driver, init: "_Init", fault: Fault) -> Seen:
    """Let one fault happen and wait until the service has recovered."""
    fault.prepare()
    init.expects_end(expected=fault.restarts)
    driver.live = serving.live()
    first, began = len(driver.sent), time.monotonic()
    fault.begin()
    told, told_s, status_s = _ask(serving, fault, began)
    time.sleep(max(0.0, began + fault.hold_s - time.monotonic()))
    fault.end()
    ended = time.monotonic()
    recovered = _wait(serving, driver, ended)
    if not told and fault.brief:
        told = _of_console(serving, init, fault.named)
    return Seen(
        fault=fault,
        first=first,
        last=len(driver.sent),
        told=told,
        told_s=told_s,
        status_s=round(status_s, 2),
        recovered_s=recovered,
        supervisor_ended=init.unexpected,
    )


def _ask(serving: RankerServing, fault: Fault, began: float) -> tuple[str, float | None, float]:
    """Ask `status` until it names the fault; return its line, when it was asked, the slowest."""
    slowest = 0.0
    while (asked := time.monotonic()) < began + (
        TOLD_S if fault.brief or fault.harmless else _ASK_S
    ):
        status = _status(serving)
        slowest = max(slowest, time.monotonic() - asked)
        named = re.search(f".*(?:{fault.named}).*", status[1], re.IGNORECASE)
        if status[0] != 0 and named is not None:
            return named[0].strip()[:200], round(asked - began, 2), slowest
    return "", None, slowest


def _wait(serving: RankerServing, driver: Driver, ended: float) -> float | None:
    """Return the seconds from the fault's end until nothing fails and status is 0, or None."""
    while (asked := time.monotonic()) < ended + RECOVERED_S:
        first = len(driver.sent)
        code, _ = _status(serving)
        time.sleep(max(0.0, asked + 1 - time.monotonic()))
        latest = driver.sent[first:]
        if code == 0 and latest and all(sent.status == 200 for sent in latest):
            return round(asked - ended, 2)
    return None


def _status(serving: RankerServing) -> tuple[int, str]:
    offset = str(serving.ports.offset)
    done = run_marloft(serving.project, "status", "--port-offset", offset)
    return done.returncode, done.stdout + done.stderr


def _of_console(serving: RankerServing, init: "_Init", named: str) -> str:
    """Return the last line of the console that names a fault."""
    lines = (init.earlier + serving.console.read_text())[init.begun :].splitlines()
    found = [line for line in lines if re.search(named, line, re.IGNORECASE)]
    return f"console: {found[-1]}"[:200] if found else ""


def _line(seen: Seen, sent: Sequence[SentRequest]) -> str:
    own = sent[seen.first : seen.last]
    failed = Counter(_kind(each)[:60] for each in own if each.status != 200)
    return (
        f"{seen.fault.name}: {dict(failed)} of {len(own)}, recovered {seen.recovered_s} s, "
        f"told {seen.told_s} s: {seen.told}"
        f"{', the supervisor ended' if seen.supervisor_ended else ''}"
    )


class _Init:
    """Starts `marloft serve` again when it has ended, as systemd or Kubernetes would."""

    def __init__(self, serving: RankerServing) -> None:
        self._serving, self._stop = serving, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._expected = False
        self.unexpected = False
        # What consoles of before said, and where in all of it this fault began.
        self.earlier, self.begun = "", 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def expects_end(self, *, expected: bool) -> None:
        """Begin with another fault; say whether it ends the supervisor."""
        self._expected, self.unexpected, self.earlier = expected, False, ""
        self.begun = len(self._serving.console.read_text())

    def start_afresh(self) -> None:
        """End everything that is left; the next look starts `marloft serve` again."""
        self._serving.kill_everything()
        deadline = time.monotonic() + RECOVERED_S
        while not self._serving.is_healthy() and time.monotonic() < deadline:
            time.sleep(0.5)

    def _watch(self) -> None:
        while not self._stop.wait(_INIT_S):
            if self._serving.process.poll() is not None:
                self.unexpected = self.unexpected or not self._expected
                self.earlier += self._serving.console.read_text()
                self._serving.start()
