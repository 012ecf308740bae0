"""What readers of a feed do, for Locust; needs nothing but locust.

    locust -f loadtest/locustfile.py --host http://127.0.0.1:8000                # with its own UI
    locust -f loadtest/locustfile.py --headless -u 8 -r 8 -t 30s --csv load FeedReader
    locust -f loadtest/locustfile.py --host http://127.0.0.1:8080 DirectTorchServe

The readers and the items they may be shown come from `build/data/audience.jsonl`, which
`marloft data prepare` writes; the environment variable AUDIENCE names another file.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant, task

AUDIENCE = Path(os.environ.get("AUDIENCE", "build/data/audience.jsonl"))
Reader = dict[str, Any]


def read_audience() -> list[Reader]:
    """Return the readers: `{"user_id", "items": [{"item_id", "rating"}, …]}` each."""
    with AUDIENCE.open() as lines:
        return [json.loads(line) for line in lines]


class FeedReader(FastHttpUser):
    """Asks the gateway for a feed, again and again."""

    wait_time = constant(0)
    host = "http://127.0.0.1:8000"
    path = "/predict"

    def on_start(self) -> None:
        """Learn who may ask."""
        self.readers = read_audience()

    @task
    def read_feed(self) -> None:
        """Ask for the ranking of one reader's candidates."""
        reader = random.choice(self.readers)  # noqa: S311 - load, not secrets
        candidates = [{"item_id": item["item_id"]} for item in reader["items"]]
        body = {"user_id": reader["user_id"], "features": candidates}
        with self.client.post(self.path, json=body, catch_response=True) as response:
            if response.status_code == 200 and len(response.json()["prediction"]) != len(
                candidates
            ):
                response.failure("the answer does not rank every candidate")


class DirectTorchServe(FeedReader):
    """The same reader without the gateway: what the gateway costs is the difference."""

    host = "http://127.0.0.1:8080"
    path = "/predictions/ranker"
