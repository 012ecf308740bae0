"""The panels of the serving dashboard as data: what each shows and the PromQL behind it.

One list for Grafana's JSON (`dashboards`), for pictures without Grafana (`monitoring/render.py`)
and for the test that checks every metric name.
"""

from collections.abc import Collection, Mapping

from msgspec import Struct

from marloft.contract import metric_names as names
from marloft.contract.request_end import REFUSALS, VERSION_ERRORS

_ARM = "{{model}} {{version}} {{arm}}"
_VERSION = "{{model}} {{version}}"
_BY_WINDOW = "max by (model, version, arm, window)"


class Query(Struct, frozen=True, kw_only=True):
    """One PromQL expression and the legend of its series, in Grafana's `{{label}}` form."""

    expr: str
    legend: str


class Panel(Struct, frozen=True, kw_only=True):
    """One graph over time; `unit` is Grafana's name of a unit."""

    title: str
    about: str
    unit: str
    queries: list[Query]


class PanelRow(Struct, frozen=True, kw_only=True):
    """Panels that answer one question together."""

    title: str
    panels: list[Panel]


# Whose predictions live outcomes can prove right or wrong; None declares no type.
_JUDGED = {None, "ranking", "classification"}
_MEASURED = {"regression"}


def rows(responses: Collection[str | None] | None = None) -> list[PanelRow]:
    """Return the dashboard's rows from top to bottom.

    Args:
        responses: the declared types of the models that are served, None for one that declares
            none; panels that never have a number for these are left out. By default all are there.
    """
    served = None if responses is None else set(responses)
    quality = _quality() if served is None or served & _JUDGED else []
    error = _error() if served is None or served & _MEASURED else []
    return [
        PanelRow(
            title="What clients see", panels=[*_latency(), _requests(), _errors(), _refused()]
        ),
        PanelRow(title="Inside the workers", panels=[_stages(), _batch_size(), *_log()]),
        PanelRow(title="Answers and their outcomes", panels=[*quality, *error, *_outcomes()]),
    ]


def _latency() -> list[Panel]:
    quantiles = ((0.5, "median"), (0.95, "p95"), (0.99, "p99"))
    return [
        Panel(
            title=f"Latency {title}",
            about="From the last byte of the request to the first byte of the answer, both at the "
            "gateway, retries included.",
            unit="s",
            queries=[
                Query(
                    expr=f"histogram_quantile({quantile}, sum by (model, version, arm, le) "
                    f"(rate({names.GATEWAY_LATENCY}_bucket[1m]))) / 1e6",
                    legend=_ARM,
                )
            ],
        )
        for quantile, title in quantiles
    ]


def _requests() -> Panel:
    return Panel(
        title="Requests",
        about="Per second, as the gateway counts them.",
        unit="reqps",
        queries=[
            Query(
                expr=f"sum by (model, version, arm) (rate({names.GATEWAY_REQUESTS}[1m]))",
                legend=_ARM,
            )
        ],
    )


def _errors() -> Panel:
    kinds = {"4xx": 'code=~"4.."', "5xx of the version": VERSION_ERRORS}
    return Panel(
        title="Errors",
        about="Share of requests that were faulty (4xx) or that the version itself failed (5xx, or "
        "no answer within the limit).",
        unit="percentunit",
        queries=_shares(kinds),
    )


def _refused() -> Panel:
    kinds = {"refused": REFUSALS[0], "by its queue": REFUSALS[1], "not logged": 'cause="log"'}
    return Panel(
        title="Refused",
        about="Share of requests that were refused, since more came than could be answered, or "
        "whose record could not be written.",
        unit="percentunit",
        queries=_shares(kinds),
    )


def _shares(kinds: Mapping[str, str]) -> list[Query]:
    """Return the share of each kind of requests, given by their matchers."""
    return [
        Query(expr=_share(matcher), legend=f"{_VERSION} {kind}") for kind, matcher in kinds.items()
    ]


def _share(matcher: str) -> str:
    """Return the share of a version's requests that match, 0 while none has ever."""
    every = f"sum by (model, version) (rate({names.GATEWAY_REQUESTS}[1m]))"
    found = f"sum by (model, version) (rate({names.GATEWAY_REQUESTS}{{{matcher}}}[1m]))"
    return f"({found} or 0 * {every}) / {every}"


def _stages() -> Panel:
    series = names.STAGE_SECONDS
    return Panel(
        title="Mean time by stage",
        about="Queue: gateway to worker. Predict: the model, per batch. Total: to the answer.",
        unit="s",
        queries=[
            Query(
                expr=f"sum by (model, version, stage) (rate({series}_sum[1m])) / "
                f"sum by (model, version, stage) (rate({series}_count[1m]))",
                legend=f"{_VERSION} {{{{stage}}}}",
            )
        ],
    )


def _batch_size() -> Panel:
    series = names.BATCH_SIZE
    return Panel(
        title="Mean batch size",
        about="Requests that a worker got together.",
        unit="short",
        queries=[
            Query(
                expr=f"sum by (model, version) (rate({series}_sum[1m])) / "
                f"sum by (model, version) (rate({series}_count[1m]))",
                legend=_VERSION,
            )
        ],
    )


def _log() -> list[Panel]:
    return [
        Panel(
            title="Prediction log",
            about="Bytes written per second.",
            unit="Bps",
            queries=[
                Query(
                    expr=f"sum by (model, version) (rate({names.LOG_BYTES}[1m]))", legend=_VERSION
                )
            ],
        ),
        Panel(
            title="Failed log writes",
            about="Per second: batches that could not be logged, answers without a record.",
            unit="ops",
            queries=[
                Query(
                    expr=f"sum by (model, version) (rate({names.LOG_FAILURES}[1m]))",
                    legend=_VERSION,
                ),
                Query(
                    expr=f"sum by (model, version) (rate({names.LOG_DROPPED}[1m]))",
                    legend=f"{_VERSION} without a record",
                ),
            ],
        ),
    ]


def _quality() -> list[Panel]:
    series = (
        (names.ACCURACY, "accuracy"),
        (names.PRECISION, "precision"),
        (names.RECALL, "recall"),
    )
    return [
        Panel(
            title="Quality of predictions",
            about="Of a ranking's shown items: score at least 0.5, against clicked. Of a "
            "classification: its label, against the outcome `label`; precision and recall where "
            "labels are true and false. Over the window in the label.",
            unit="percentunit",
            queries=[
                Query(expr=f"{_BY_WINDOW} ({name})", legend=f"{_ARM} {short}")
                for name, short in series
            ],
        )
    ]


def _error() -> list[Panel]:
    return [
        Panel(
            title="Mean absolute error",
            about="Of a regression, against the outcome `label`, in the unit of the prediction. "
            "Over the window in the label.",
            unit="short",
            queries=[Query(expr=f"{_BY_WINDOW} ({names.MEAN_ABSOLUTE_ERROR})", legend=_ARM)],
        )
    ]


def _outcomes() -> list[Panel]:
    by_arm = "max by (model, version, experiment, arm, window)"
    return [
        Panel(
            title="CTR by arm",
            about="Clicked entries (items of a ranking, rows of others) per shown entry, over the "
            "window in the label.",
            unit="percentunit",
            queries=[Query(expr=f"{by_arm} ({names.CTR})", legend=_ARM)],
        ),
        Panel(
            title="Conversion by arm",
            about="Answers with a conversion, over the window in the label.",
            unit="percentunit",
            queries=[Query(expr=f"{by_arm} ({names.CONVERSION})", legend=_ARM)],
        ),
    ]
