"""Packs an archive after running its handler: what `marloft pack` and `marloft.pack` do."""

from pathlib import Path

from marloft.archive.pack import pack
from marloft.archive.sandbox.handler_trial import examine
from marloft.contract.manifest import ArchiveSidecar


def build(
    config: Path, out: Path = Path("model_store"), *, run_handler: bool = True
) -> ArchiveSidecar:
    """Build an archive into the store, once its handler has proved that it works.

    Args:
        config: a file of `archive_configs/`.
        out: the model store.
        run_handler: False for an archive that this machine cannot run, such as a TensorRT engine's;
            the sidecar's `measured` is then None.

    Raises:
        ConfigError: the file, or one it names, is missing or has not the expected form.
        ArchiveError: as `marloft.archive.pack.pack`.
        HandlerError: the handler fails, with its traceback in `log`; the store is left as it was.
    """
    return pack(config, out, examination=examine if run_handler else None)
