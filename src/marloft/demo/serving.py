"""The demo's `marloft serve`: started, brought from release to release, asked, loaded."""

import csv
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import msgspec

from marloft.contract.release import newest_number, releases_folder
from marloft.demo.run import Demo, program
from marloft.errors import StepError

READY_S = 60
LOAD_USERS = 8
QUESTION = '{"user_id": 7, "features": [{"item_id": 50}, {"item_id": 172}, {"item_id": 29}]}'


@contextmanager
def serving(demo: Demo) -> Iterator[None]:
    """Run `marloft serve` for the time of the block and leave no process behind."""
    words = ("serve", "--store", demo.store, "--var", demo.var)
    command = [program("marloft"), *(str(word) for word in words)]
    command += ["--port-offset", str(demo.ports.offset)]
    demo.say("  $ marloft " + " ".join(command[1:]) + " &")
    with demo.serve_log.open("wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until_live(demo, child)
        yield
    finally:
        child.send_signal(signal.SIGINT)
        child.wait()


def wait_until_live(demo: Demo, child: subprocess.Popen[bytes] | None = None) -> None:
    """Return when the newest release is live; raises StepError after a minute.

    `child` is the process that must not end before.
    """
    wanted = f"release {newest_number(releases_folder(demo.var))} is live"
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        lines = demo.serve_log.read_text(errors="replace").splitlines()
        found = next((line for line in lines if wanted in line), None)
        if found is not None:
            demo.say("    " + found)
            return
        if child is not None and child.poll() is not None:
            last = lines[-1] if lines else "no output"
            raise StepError(f"marloft serve ended with code {child.returncode}: {last}")
        time.sleep(0.1)
    raise StepError(f"no '{wanted}' in {READY_S} s; see {demo.serve_log}.")


def ask(demo: Demo) -> None:
    """Ask one question as a client would and print the answer."""
    health = httpx2.get(f"{demo.gateway}/health")
    demo.say(f"  GET /health\n    {health.status_code} {health.text}")
    headers = {"content-type": "application/json"}
    answer = httpx2.post(f"{demo.gateway}/predict", content=QUESTION, headers=headers)
    demo.say(f"  POST /predict {QUESTION}\n    {answer.status_code} {answer.text}")
    if (health.status_code, answer.status_code) != (200, 200):
        raise StepError(f"POST /predict answered {answer.status_code}: {answer.text}")


def ask_workflow(demo: Demo, workflow: str, users: int) -> dict[int, str]:
    """Ask for one feed of each of the first readers; return the arm each was served by."""
    lines = Path("build/data/audience.jsonl").read_bytes().splitlines()[:users]
    found: dict[int, str] = {}
    url = f"http://127.0.0.1:{demo.ports.inference}/wfpredict/{workflow}"
    with httpx2.Client(timeout=30) as client:
        for reader in (msgspec.json.decode(line) for line in lines):
            items = [{"item_id": item["item_id"]} for item in reader["items"]]
            answer = client.post(url, json={"user_id": reader["user_id"], "features": items})
            if "experiment" not in answer.json():
                raise StepError(f"POST {url} answered {answer.status_code}: {answer.text}")
            found[reader["user_id"]] = answer.json()["experiment"]["arm"]
    return found


def load(demo: Demo, name: str, seconds: int) -> dict[str, dict[str, str]]:
    """Let Locust's readers ask for feeds; statistics start when all of them are there.

    Returns:
        Locust's statistics by request name, as its CSV file has them.
    """
    prefix: Path = demo.out / name
    demo.run(
        *("locust", "-f", "loadtest/locustfile.py", "--headless", "--only-summary"),
        *("-u", str(LOAD_USERS), "-r", str(LOAD_USERS), "-t", f"{seconds}s", "--reset-stats"),
        *("--host", demo.gateway, "--csv", prefix, "--html", f"{prefix}.html", "FeedReader"),
        quiet=True,
    )
    with prefix.with_name(f"{name}_stats.csv").open() as lines:
        return {row["Name"]: row for row in csv.DictReader(lines)}
