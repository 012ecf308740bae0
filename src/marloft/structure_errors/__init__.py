"""All that is wrong with a file's structure at once: where, what is allowed, what to write."""

from marloft.structure_errors.fault import Fault, Place, dotted, in_file_order, listed, without
from marloft.structure_errors.walk import collect, convert
from marloft.structure_errors.wording import scalar

__all__ = [
    "Fault",
    "Place",
    "collect",
    "convert",
    "dotted",
    "in_file_order",
    "listed",
    "scalar",
    "without",
]
