"""Names of a model's inputs and outputs: how outputs get theirs, and mistakes in those given."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from marloft.errors import DataError, nearest

T = TypeVar("T")

ONLY_OUTPUT = "score"


def named_outputs(answer: Any, tensor: type[T]) -> dict[str, T]:
    """Return what a module answers by name.

    One tensor is `score`; a NamedTuple gives its fields, a mapping its keys, a tuple or list
    `output_0`, `output_1`, …. What lies deeper is named by its path, joined by dots, where a
    position is its number: `head.mean`, `output_1.0`.

    Args:
        answer: what a module returned.
        tensor: the class of a single output.

    Raises:
        DataError: a part is no tensor, a key no text, nothing is there, or two names are the same.
    """
    if isinstance(answer, tensor):
        return {ONLY_OUTPUT: answer}
    found: dict[str, T] = {}
    for name, output in _leaves("", answer, tensor):
        if name in found:
            raise DataError(f"the model answers two outputs named {name!r}; rename one of them.")
        found[name] = output
    if not found:
        raise DataError(f"the model answers no tensor ({type(answer).__name__}); return one.")
    return found


def check_names(
    model: str, given: Iterable[str], takes: Mapping[str, str], needs: Collection[str]
) -> None:
    """Refuse inputs that a model does not take, and missing ones.

    Args:
        model: what the message calls the model.
        given: the names of the inputs.
        takes: each input that the model takes, with its type in words, such as `float32[n,19]`.
        needs: those of them that have to be given.

    Raises:
        DataError: with the model's own names and types.
    """
    names = list(given)
    words = ", ".join(f"{name} ({word})" if word else name for name, word in takes.items())
    for name in names:
        if name not in takes:
            raise DataError(
                f"{model} has no input {name!r}.{nearest(name, takes) if takes else ''} "
                f"It takes: {words or 'nothing'}."
            )
    missing = [name for name in takes if name in needs and name not in names]
    if missing:
        raise DataError(
            f"{model} was not given {', '.join(map(repr, missing))}. It takes: {words}; "
            f"it got: {', '.join(names) or 'nothing'}."
        )


def _leaves(path: str, answer: Any, tensor: type[T]) -> Iterator[tuple[str, T]]:
    if isinstance(answer, tensor):
        yield path, answer
        return
    for key, part in _parts(path, answer):
        if not isinstance(key, str) or not key:
            raise DataError(f"the model names an output {key!r}; a key has to be text, as 'score'.")
        yield from _leaves(f"{path}.{key}" if path else key, part, tensor)


def _parts(path: str, answer: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(answer, Mapping):
        return answer.items()
    if isinstance(answer, tuple) and hasattr(answer, "_fields"):
        return zip(answer._fields, answer, strict=True)
    if isinstance(answer, tuple | list):
        return ((str(i) if path else f"output_{i}", part) for i, part in enumerate(answer))
    raise DataError(
        f"the model answers {path or 'with'} {type(answer).__name__}; every output has to be a "
        "tensor, in a NamedTuple, dict, tuple or list where there are several: for a number "
        "`torch.tensor(number)`."
    )
