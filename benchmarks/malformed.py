"""Part A of `benchmarks.hostile`: malformed requests and slow clients beside a good client."""

import asyncio
import itertools
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

from benchmarks.hostile_rows import HostileClients, Neighbour
from benchmarks.judge import Judge, faults, percentiles_ms
from harness.driver import SentRequest
from harness.health_watch import HealthWatch
from harness.hostile_clients.generated import flipped, from_openapi
from harness.hostile_clients.handmade import SMUGGLED, TARGETS, handmade
from harness.hostile_clients.sending import RawAnswer, RawRequest, ask_all, server_errors
from harness.hostile_clients.slow import slow_clients
from harness.ranker_serving import MODEL, REPOSITORY, RankerServing
from harness.soak import drive

RATE = 50.0
SLOW_CLIENTS = 100
GENERATED, FLIPPED = 250, 100
# What the gateway gives a request to arrive (30 s) and a connection to say something (75 s).
REQUEST_LIMIT_S, SLOW_LIMIT_S = 35.0, 85.0
# Everything is sent twice: a p99 of half as many of the good client's answers is chance.
_BLOCK_S, _BLOCKS, _ROUNDS = 10.0, 8, 2
# Slow clients come during the first part of a block and each stays for as long as the rest.
_STAY = 0.6
_QUICK_BLOCK_S, _QUICK_BLOCKS, _QUICK_SHARE = 4.0, 2, 8


def hostile_requests() -> list[RawRequest]:
    """Return all malformed requests in random order, the same each time."""
    made = [request for target in TARGETS for request in handmade(target)]
    document = REPOSITORY / "docs" / "openapi.yaml"
    every = [*made, *from_openapi(document, GENERATED), *flipped(made, FLIPPED)]
    random.Random(1).shuffle(every)  # noqa: S311
    return every


def run(
    serving: RankerServing, say: Callable[[str], None], *, quick: bool
) -> Iterator[HostileClients | Neighbour]:
    """Send everything, in blocks between blocks of peace, and yield what was seen.

    The short form sends an eighth and does not wait until the gateway gives slow clients up.
    """
    requests = hostile_requests()[:: _QUICK_SHARE if quick else 1]
    blocks, block_s = (_QUICK_BLOCKS, _QUICK_BLOCK_S) if quick else (_BLOCKS, _BLOCK_S)
    share = blocks // (1 if quick else _ROUNDS)
    plan = [True, False] * blocks
    random.Random(2).shuffle(plan)  # noqa: S311
    shares = iter([requests[n % share :: share] for n in range(blocks)])
    answers: list[RawAnswer] = []
    spans: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    with (
        drive(serving.gateway, RATE) as driver,
        HealthWatch(serving.gateway) as health,
        # A process of its own: threads of this one would slow the good client down.
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        driver.live = serving.live()
        pool.submit(time.monotonic).result()
        for hostile in plan:
            first = len(driver.sent)
            if hostile:
                block = pool.submit(_block, serving.ports.gateway, next(shares), block_s)
                answers += block.result()
            else:
                time.sleep(block_s)
            spans[hostile].append((first, len(driver.sent)))
        say(f"{len(requests)} different malformed requests sent; slow clients are given up")
        if not quick:
            answers += pool.submit(_patient, serving.ports.gateway).result()
    yield from _by_kind(answers)
    parts = {
        hostile: list(itertools.chain(*(driver.sent[a:b] for a, b in cut)))
        for hostile, cut in spans.items()
    }
    yield _neighbour(Judge(serving.var, MODEL), driver.sent, parts, health)


def _block(port: int, requests: Sequence[RawRequest], seconds: float) -> list[RawAnswer]:
    """Send requests evenly over `seconds` while slow clients are there, who then hang up."""

    async def both() -> list[RawAnswer]:
        rate = len(requests) / seconds
        malformed, slow = await asyncio.gather(
            ask_all("127.0.0.1", port, requests, rate=rate, limit_s=REQUEST_LIMIT_S),
            slow_clients(
                "127.0.0.1", port, SLOW_CLIENTS, seconds * _STAY, arrive_s=seconds * (1 - _STAY)
            ),
        )
        # They were not to be waited for: only what they were answered counts.
        return [*malformed, *(answer for answer in slow if not answer.hung)]

    return asyncio.run(both())


def _patient(port: int) -> list[RawAnswer]:
    """Run slow clients that wait until the gateway gives them up."""
    return asyncio.run(slow_clients("127.0.0.1", port, SLOW_CLIENTS, SLOW_LIMIT_S))


def _by_kind(answers: Sequence[RawAnswer]) -> Iterator[HostileClients]:
    kinds = sorted({answer.kind for answer in answers})
    for kind in kinds:
        own = [answer for answer in answers if answer.kind == kind]
        statuses = Counter(str(status) for answer in own for status in answer.statuses)
        slow = kind.startswith("slow") or kind == "idle"
        yield HostileClients(
            kind=kind,
            requests=len(own),
            statuses=dict(sorted(statuses.items())),
            closed=sum(not answer.statuses for answer in own),
            server_errors=sum(server_errors(own).values()),
            hung=sum(answer.hung for answer in own),
            limit_s=SLOW_LIMIT_S if slow else REQUEST_LIMIT_S,
            longest_s=max(answer.took_s for answer in own),
        )


def _neighbour(
    judge: Judge,
    sent: Sequence[SentRequest],
    parts: dict[bool, list[SentRequest]],
    health: HealthWatch,
) -> Neighbour:
    alone, beside = percentiles_ms(parts[False]), percentiles_ms(parts[True])
    return Neighbour(
        requests=len(sent),
        faults=faults(judge, sent),
        lost=judge.lost(sent),
        alone_p50_ms=alone["p50_ms"],
        alone_p99_ms=alone["p99_ms"],
        beside_p50_ms=beside["p50_ms"],
        beside_p99_ms=beside["p99_ms"],
        health_asked=len(health.answers),
        health_false_alarms=health.false_alarms,
        smuggled=judge.records_of(SMUGGLED),
    )
