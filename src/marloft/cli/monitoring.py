"""`marloft metrics`: the numbers of the running system, for Prometheus."""

from typing import Annotated

import typer

from marloft.cli.options import VAR, VarOption
from marloft.deploy.ports import Ports
from marloft.monitoring.exporter import exporting
from marloft.monitoring.live import LiveSettings
from marloft.stop_signal import StopSignal

_DEFAULTS = LiveSettings()


def metrics(
    var: VarOption = VAR,
    port_offset: Annotated[int, typer.Option(help="Added to the port, 9102.")] = 0,
    window: Annotated[
        float, typer.Option(min=1, help="Seconds of answers that the live gauges count.")
    ] = _DEFAULTS.window_s,
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds that a reader has to click before one counts.")
    ] = _DEFAULTS.settle_s,
    top: Annotated[
        int, typer.Option(min=1, help="Items of a ranking that are shown.")
    ] = _DEFAULTS.top,
    click: Annotated[str, typer.Option(help="The outcome that is a click.")] = _DEFAULTS.click,
    conversion: Annotated[
        str, typer.Option(help="The outcome that is a conversion.")
    ] = _DEFAULTS.conversion,
) -> None:
    """Serve the workers' metrics and the live quality at /metrics until Ctrl-C.

    Example: marloft metrics --window 600

    `marloft serve` runs one by itself. Read on: docs/monitoring.md.
    """
    stop = StopSignal()
    stop.install()
    settings = LiveSettings(
        window_s=window, settle_s=settle, top=top, click=click, conversion=conversion
    )
    ports = Ports(offset=port_offset)
    with exporting(var, ports.exporter, settings):
        typer.echo(f"metrics at http://127.0.0.1:{ports.exporter}/metrics")
        stop.wait()
