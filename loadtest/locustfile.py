"""What readers of a feed do, for Locust; needs nothing but locust.

    locust -f loadtest/locustfile.py FeedReader                  # with Locust's own UI
    locust -f loadtest/locustfile.py --headless -u 8 -r 8 -t 30s \
        --csv load --html load.html FeedReader
    locust -f loadtest/locustfile.py DirectTorchServe            # without the gateway

A reader asks for a feed of items whose rating by that user was held out of training, looks at the
first three and reports what they were to the user: a click for a rating of 4 or 5, a conversion
for a 5. So a ranking that puts liked items first earns more clicks, and nothing is made up. The
readers come from `build/data/audience.jsonl`, which `marloft data prepare` writes; the environment
variable AUDIENCE names another file. `--seed` makes the order of readers repeatable.
"""

import json
import os
import random
from functools import cache
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant, events, task

AUDIENCE = Path(os.environ.get("AUDIENCE", "build/data/audience.jsonl"))
FEWEST_ITEMS = 6
LOOKED_AT = 3
CLICKED_FROM = 4
CONVERTED_FROM = 5
Reader = dict[str, Any]

draw = random.Random()  # noqa: S311 - load, not secrets


@cache
def read_audience() -> list[Reader]:
    """Return the readers: `{"user_id", "items": [{"item_id", "rating"}, …]}` each."""
    with AUDIENCE.open() as lines:
        readers = [json.loads(line) for line in lines]
    return [reader for reader in readers if len(reader["items"]) >= FEWEST_ITEMS]


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_seed(parser: Any) -> None:
    """Offer the seed on the command line and in the UI."""
    parser.add_argument("--seed", default="", help="Same seed, same order of readers.")


@events.test_start.add_listener  # type: ignore[untyped-decorator]
def start_draws(environment: Any, **_: Any) -> None:
    """Restart the order of readers, a different one in each of Locust's worker processes."""
    seed = getattr(environment.parsed_options, "seed", "")
    worker = getattr(environment.runner, "worker_index", 0)
    draw.seed(f"{seed}/{worker}" if seed else None)


class FeedReader(FastHttpUser):
    """Asks the gateway for feeds and reacts to what is on top."""

    wait_time = constant(0)
    host = "http://127.0.0.1:8000"
    feed_path = "/predict"
    outcome_path = "/outcomes"

    @task
    def read_feed(self) -> None:
        """Ask for a feed, look at its first items and react."""
        reader = draw.choice(read_audience())
        rating = {item["item_id"]: item["rating"] for item in reader["items"]}
        answer = self.ask_for_feed(reader["user_id"], list(rating))
        if answer is None:
            return
        for item in answer["prediction"][:LOOKED_AT]:
            if rating[item] >= CLICKED_FROM:
                self.report(answer["request_id"], item, "click")
            if rating[item] >= CONVERTED_FROM:
                self.report(answer["request_id"], item, "conversion")

    def ask_for_feed(self, user: int, items: list[int]) -> dict[str, Any] | None:
        """Return the answer, None when it is not a ranking of these items."""
        body = {"user_id": user, "features": [{"item_id": item} for item in items]}
        with self.client.post(self.feed_path, json=body, catch_response=True) as response:
            if response.status_code != 200:
                return None  # Locust counts it as failed, with its own message
            answer: dict[str, Any] = response.json()
            if sorted(answer["prediction"]) != sorted(items):
                response.failure("the answer does not rank every candidate")
                return None
            return answer

    def report(self, request_id: str, item: int, event: str) -> None:
        """Report what happened to one item of a feed."""
        outcome = {"request_id": request_id, "item_id": item, "event": event}
        self.client.post(self.outcome_path, json=outcome)


class DirectTorchServe(FeedReader):
    """The same reader without the gateway: what the gateway costs is the difference."""

    host = "http://127.0.0.1:8080"
    feed_path = "/predictions/ranker"
    outcome_path = "/predictions/outcomes"
