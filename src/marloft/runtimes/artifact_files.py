"""The files that an exported model consists of: often one, with ONNX's external data several.

torch's exporter writes external data beyond a size, next to the graph:
https://onnx.ai/onnx/api/external_data_helper.html.
"""

import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from marloft.contract.manifest import Runtime as RuntimeName
from marloft.errors import ConfigError, DataError

# A graph without these bytes names no file; only one that has them needs the library.
_LOCATION = b"location"


def other_files(path: Path, runtime: RuntimeName) -> dict[str, Path]:
    """Return every file that an artifact is read from besides itself, by its path next to it.

    Raises:
        DataError: one is not there, or lies elsewhere; then no archive could hold it.
        ConfigError: the file is ONNX with external data, and the library that reads it is missing.
    """
    if runtime != "onnx" or not _mentions(path, _LOCATION):
        return {}
    found = {name: path.parent / name for name in sorted(_locations(path))}
    for name, file in found.items():
        inside = not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
        if not inside or not file.is_file():
            where = "is not there" if inside else "lies outside of its folder"
            raise DataError(
                f"{path} keeps weights in {name}, which {where}; export it again, next to the "
                "graph or with `external_data=False` into it."
            )
    return found


def _mentions(path: Path, word: bytes) -> bool:
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(word) >= 0


def _locations(path: Path) -> set[str]:
    try:
        import onnx  # noqa: PLC0415 - a large library that only these files need
        from onnx.external_data_helper import ExternalDataInfo, uses_external_data  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"{path} keeps weights in other files, which onnx finds; "
            "run `pip install 'marloft[train]'`."
        ) from error
    model: Any = onnx.load(str(path), load_external_data=False)
    functions = (node for function in model.functions for node in function.node)
    tensors = [*_tensors(model.graph), *_of_nodes(functions)]
    return {ExternalDataInfo(tensor).location for tensor in tensors if uses_external_data(tensor)}


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for attribute in (each for node in nodes for each in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for graph in (attribute.g, *attribute.graphs):
            yield from _tensors(graph)
