"""Records of every declared type, as workers write them, and of archives that declare nothing."""

from typing import Any

import msgspec
import numpy as np

from marloft.contract import response as declared
from marloft.contract.answers import (
    AnyAnswer,
    Classification,
    Embedding,
    Objects,
    Prediction,
    Ranking,
    Regression,
)
from marloft.contract.encode_answer import encode_answer
from marloft.contract.response import Response, type_of
from tests.unit.logs.test_read import prediction

_VECTORS = np.arange(64, dtype=np.float32)
_GRADES = declared.ClassificationResponse(labels=["bad", "good"])
_YES_NO = declared.ClassificationResponse(labels=[False, True])
ANY = {"type": ["object", "array", "string"]}
# Request id → what the archive declares, what its handler returned, rows of the request.
ANSWERS: dict[str, tuple[Response | None, AnyAnswer, int]] = {
    "ranking": (declared.RankingResponse(), Ranking([1, 2, 0], [0.2, 0.9, 0.6]), 3),
    "grades": (_GRADES, Classification([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6], [0.7, 0.3]]), 4),
    "one-grade": (
        declared.ClassificationResponse(labels=["bad", "good"], per="request"),
        Classification([[0.3, 0.7]]),
        3,
    ),
    "yes-no": (_YES_NO, Classification([[0.1, 0.9], [0.8, 0.2]]), 2),
    "numbers": (
        declared.RegressionResponse(interval=0.9),
        Regression([2.0, 5.0], [[1.0, 3.0], [4.0, 6.0]]),
        2,
    ),
    "one-number": (
        declared.RegressionResponse(interval=0.9, per="request"),
        Regression([2.5], [[1.0, 3.0]]),
        3,
    ),
    "vector": (
        declared.EmbeddingResponse(dimension=64, per="request"),
        Embedding(_VECTORS[None]),
        1,
    ),
    "vectors": (
        declared.EmbeddingResponse(dimension=64),
        Embedding(np.stack([_VECTORS, _VECTORS])),
        2,
    ),
    # An object that looks like a list of entries is one entry all the same.
    "object": (declared.ObjectResponse(schema=ANY, per="request"), Objects([["a", "b"]]), 1),
    "objects": (declared.ObjectResponse(schema=ANY), Objects([{"name": "a"}, "b"]), 2),
    "undeclared": (None, Prediction(prediction=[4, 3], confidence=0.9, scores=[0.4, 0.9]), 2),
    "undeclared-one": (None, Prediction(prediction="cat", confidence=0.9), 1),
}


def record(request_id: str, name: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return the record of one of ANSWERS, by default of the one called like the request."""
    response, returned, rows = ANSWERS[name or request_id]
    answer = encode_answer(returned, response, rows)
    parts: dict[str, Any] = {"prediction": answer.prediction, "scores": answer.scores}
    if response is not None:
        more = ("entries", "confidence", "probabilities", "interval")
        parts["response"] = type_of(response)
        parts |= {name: getattr(answer, name) for name in more if getattr(answer, name) is not None}
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(parts))
    return prediction(request_id, **(plain | changes))


def records() -> list[dict[str, Any]]:
    """Return a record of each of ANSWERS."""
    return [record(name) for name in ANSWERS]
