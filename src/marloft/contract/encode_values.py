"""What a handler returned, value by value, as JSON: lists, arrays, numbers, anything."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

ENCODER = msgspec.json.Encoder()
# As many digits as tell any two float32 apart.
_DIGITS = 9


def listed(field: str, values: object) -> list[Any]:
    """Return one value per entry.

    Raises:
        TypeError: they are no list; of a text or a dict the parts would be taken for entries.
    """
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Sequence):
        raise TypeError(
            f"encode returned {field} as {type(values).__name__}; allowed: a list, with one of "
            "them for each entry."
        )
    return list(values)


def array_of(field: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return finite numbers of the expected shape.

    Raises:
        TypeError, ValueError: they are something else, or of another shape.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"encode returned {field} of {array.dtype}; allowed: numbers.")
    if array.shape != shape:
        raise ValueError(
            f"encode returned {field} of shape {list(array.shape)}; needed: {list(shape)}."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"encode returned {field} with NaN or infinity; allowed: numbers.")
    return array


def plain_numbers(array: NDArray[Any]) -> list[Any]:
    """Return Python numbers; those of float32 with the digits that they have."""
    if array.dtype not in (np.float32, np.float16):
        if array.dtype.kind == "f":
            array = array.astype(np.float64)
        plain: list[Any] = array.tolist()
        return plain
    wide = array.astype(np.float64)
    size = np.floor(np.log10(np.abs(np.where(wide == 0, 1, wide))))
    # A power of ten of more digits than a float64 has would overflow for the smallest numbers.
    scale = 10.0 ** np.minimum(_DIGITS - 1 - size, 300)
    digits: list[Any] = (np.round(wide * scale) / scale).tolist()
    return digits


def check_extra(extra: object) -> None:
    """Raise TypeError unless the log can hold it and its readers read it."""
    if extra is None:
        return
    if not isinstance(extra, dict):
        # Readers of the log would drop the whole record.
        raise TypeError(f"encode returned extra of {type(extra).__name__}; allowed: a dict.")
    ENCODER.encode(extra)


def json_of(what: str, value: object) -> msgspec.Raw:
    """Return a value as JSON; raises TypeError or ValueError when JSON has no word for it."""
    try:
        encoded = ENCODER.encode(value)
    except TypeError as error:
        raise TypeError(
            f"encode returned {what} that are not JSON: {error}; convert NumPy's with .tolist()."
        ) from None
    if b"null" in encoded and _holds_not_finite(value):
        raise ValueError(f"encode returned {what} with NaN or infinity in it; allowed: JSON.")
    return msgspec.Raw(encoded)


def numbers_of(field: str, values: float | list[float]) -> msgspec.Raw:
    """Return numbers as JSON; raises ValueError for NaN, infinity and None."""
    encoded = ENCODER.encode(values)
    # msgspec writes NaN and infinity as null, which is quicker to find than each number.
    if b"n" in encoded:
        raise ValueError(f"encode returned {field} with NaN, infinity or None; allowed: numbers.")
    return msgspec.Raw(encoded)


def _holds_not_finite(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(_holds_not_finite(each) for each in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return any(_holds_not_finite(each) for each in value)
    return False
