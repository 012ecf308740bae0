"""A canary whose workers cannot start, for tests of the roll-out."""

from ranker import RankerHandler  # the archive holds ranker.py too

from marloft.serving import LoadedArchive


class BrokenRankerHandler(RankerHandler):
    """Fails before it is ready."""

    def load(self, archive: LoadedArchive) -> None:  # noqa: ARG002 - the signature of load
        """Raise, as a handler does whose file is missing."""
        raise RuntimeError("planted: no model")
