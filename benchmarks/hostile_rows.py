"""What `benchmarks.hostile` writes: one kind of row for each part, and the headline of all rows."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from marloft.contract.benchmark import BenchmarkResult, Headline
from marloft.files import read_json

NEIGHBOUR_RATIO, GOODPUT_RATIO, REFUSAL_P99_MS, BACK_S = 1.5, 0.8, 100.0, 5.0


class HostileClients(Struct, frozen=True, kw_only=True, tag_field="part", tag="malformed"):
    """What came back to one kind of hostile clients.

    `statuses` counts each answer's; `closed` are connections that got none. `server_errors` are
    500, 502, 504 and 503 without Retry-After, `hung` those that were neither answered nor closed
    in `limit_s`, after which a client gave up.
    """

    kind: str
    requests: int
    statuses: dict[str, int]
    closed: int
    server_errors: int
    hung: int
    limit_s: float
    longest_s: float


class Neighbour(Struct, frozen=True, kw_only=True, tag_field="part", tag="neighbour"):
    """The good client beside them, and alone, in blocks of random order.

    `smuggled` counts records of requests that nobody sent as such.
    """

    requests: int
    faults: dict[str, int]
    lost: int
    alone_p50_ms: float
    alone_p99_ms: float
    beside_p50_ms: float
    beside_p99_ms: float
    health_asked: int
    health_false_alarms: int
    smuggled: int


class Load(Struct, frozen=True, kw_only=True, tag_field="part", tag="load"):
    """One load: `goodput_per_s` counts 200s, `refused` 429s and 503s, `failed` all others.

    `unanswered` were under way when the generator ended. Times are the client's;
    `generator_cores` is what the generator took of the machine's cores.
    """

    load: str
    seconds: float
    connections: int
    offered_per_s: float
    sent_per_s: float
    goodput_per_s: float
    refused: int
    failed: int
    unanswered: int
    good_p50_ms: float | None
    good_p99_ms: float | None
    refusal_p50_ms: float | None
    refusal_p99_ms: float | None
    generator_cores: float


class Overload(Struct, frozen=True, kw_only=True, tag_field="part", tag="overload"):
    """What else was seen at three times the peak.

    `gateway_refusal_p99_ms` is the bound of a bucket of the gateway's own histogram, None when it
    refused nothing.
    `releases_written` while a new version was watched at its full step; `bare_refusals` are those
    of a sample that did not say when to come back. `back_to_normal_s` is from the end of the load
    until every second's median is at most 1.5 times that of before.
    """

    peak_per_s: float
    goodput_at_3x: float
    gateway_refusal_p99_ms: float | None
    health_asked: int
    health_false_alarms: int
    releases_written: int
    sampled_refusals: int
    bare_refusals: int
    normal_p50_ms: float
    back_to_normal_s: float | None


class Survival(Struct, frozen=True, kw_only=True, tag_field="part", tag="fault"):
    """One fault under load.

    `told` is what `marloft status` said of it, "" when it did not; of one that was over at once,
    what the console said. `told_s` is when status was asked that told, None for the console;
    `status_s` the longest that status itself took. `recovered_s` is
    from the fault's end until nothing failed and status was 0 again, None when it never was.
    `unavailable` are 503s with Retry-After, `refused` connections that were not accepted; `failed`
    are all other answers but 200, by kind. `supervisor_ended` says that `marloft serve` did,
    although nobody had killed it.
    """

    fault: str
    requests: int
    unavailable: int
    refused: int
    failed: dict[str, int]
    away_s: float
    lost: int
    told: str
    told_s: float | None
    status_s: float
    recovered_s: float | None
    supervisor_ended: bool
    survived: bool


Row = HostileClients | Neighbour | Load | Overload | Survival
PARTS: dict[str, tuple[type[Row], ...]] = {
    "malformed": (HostileClients, Neighbour),
    "overload": (Load, Overload),
    "faults": (Survival,),
}


def earlier_rows(path: Path, measured: Sequence[str]) -> list[Row]:
    """Return the rows of an earlier result that belong to none of the parts measured now.

    Raises:
        ConfigError: the file is damaged.
    """
    if not path.is_file():
        return []
    now = tuple(kind for part in measured for kind in PARTS[part])
    return [row for row in read_json(path, BenchmarkResult[Row]).rows if not isinstance(row, now)]


def headline(rows: Sequence[Row]) -> Headline:
    """Return the figures that the documentation quotes; None is a part that was not measured."""
    clients = [row for row in rows if isinstance(row, HostileClients)]
    beside = next((row for row in rows if isinstance(row, Neighbour)), None)
    loaded = next((row for row in rows if isinstance(row, Overload)), None)
    refused = [
        row.refusal_p99_ms for row in rows if isinstance(row, Load) and row.load == "3 x peak"
    ]
    faults = [row for row in rows if isinstance(row, Survival)]
    alarms = [row.health_false_alarms for row in (beside, loaded) if row is not None]
    at_client = refused[0] if refused else None
    return {
        "hostile_requests": sum(row.requests for row in clients) if clients else None,
        "server_errors": sum(row.server_errors for row in clients) if clients else None,
        "hung": sum(row.hung for row in clients) if clients else None,
        "neighbour_p99_ratio": p99_ratio(beside) if beside else None,
        "goodput_at_3x": loaded.goodput_at_3x if loaded else None,
        "refusal_p99_ms": _either(loaded.gateway_refusal_p99_ms, at_client) if loaded else None,
        "back_to_normal_s": loaded.back_to_normal_s if loaded else None,
        "health_false_alarms": sum(alarms) if alarms else None,
        "rollback_by_clients": loaded.releases_written if loaded else None,
        "survived_faults": sum(row.survived for row in faults) if faults else None,
        "total_faults": len(faults) if faults else None,
    }


def _either(first: float | None, second: float | None) -> float | None:
    return second if first is None else first


def p99_ratio(beside: Neighbour) -> float:
    """Return by how much the good client's p99 grows beside hostile ones."""
    return round(beside.beside_p99_ms / beside.alone_p99_ms, 2)


def broken_counts(rows: Sequence[Row]) -> list[str]:
    """Return in words each promise that rows break by what they count, on any machine."""
    return [broken for row in rows for broken in _broken_counts(row)]


def broken_times(rows: Sequence[Row]) -> list[str]:
    """Return in words each promise that rows break by a time or rate; for quiet machines."""
    return [broken for row in rows for broken in _broken_times(row)]


def _broken_counts(row: Row) -> list[str]:
    match row:
        case HostileClients():
            found = {"server errors": row.server_errors, "hung": row.hung}
            return [f"{row.kind}: {count} {what}" for what, count in found.items() if count]
        case Neighbour():
            return [
                *(f"good client: {count} x {fault}" for fault, count in row.faults.items()),
                *_over("good client: lost records", row.lost, 0),
                *_over("false alarms of /health", row.health_false_alarms, 0),
                *_over("smuggled requests", row.smuggled, 0),
            ]
        case Load():
            return _over(f"{row.load}: failed", row.failed, 0)
        case Overload():
            return [
                *_over("false alarms of /health at 3 x peak", row.health_false_alarms, 0),
                *_over("releases written by clients", row.releases_written, 0),
                *_over("refusals without Retry-After", row.bare_refusals, 0),
            ]
        case Survival():
            return [] if row.survived else [f"{row.fault}: not survived"]


def _broken_times(row: Row) -> list[str]:
    match row:
        case Neighbour():
            ratio = p99_ratio(row)
            return _over("good client: p99 beside hostile clients, ratio", ratio, NEIGHBOUR_RATIO)
        case Overload():
            few = row.goodput_at_3x < GOODPUT_RATIO
            slow = row.back_to_normal_s is None or row.back_to_normal_s > BACK_S
            return [
                *([f"goodput at 3 x peak: {row.goodput_at_3x}"] if few else []),
                *_over("refusals' p99, ms", row.gateway_refusal_p99_ms or 0, REFUSAL_P99_MS),
                *([f"not back to normal in {BACK_S:g} s"] if slow else []),
            ]
        case _:
            return []


def _over(what: str, value: float, limit: float) -> list[str]:
    return [f"{what}: {value:g}, at most {limit:g}"] if value > limit else []
