"""Where a deployment's files lie, as docs/architecture.md has it."""

from pathlib import Path

from marloft.contract.allocation import allocation_path
from marloft.deploy.gateway.discovery_files import CLUSTERS_FILE
from marloft.deploy.project import Project

PROJECT = Project(config=Path("config.properties"), store=Path("model_store"), var=Path("var"))


def test_files_lie_below_the_state_folder() -> None:
    assert PROJECT.routes == Path("var/run/routes/routes.json")
    assert PROJECT.clusters == PROJECT.routes.with_name(CLUSTERS_FILE)
    assert PROJECT.gateway_log == Path("var/log/envoy.log")
    assert PROJECT.worker_log == Path("var/log/torchserve/model_log.log")
    assert PROJECT.allocations == Path("var/run/allocation")


def test_every_experiments_allocation_lies_in_the_one_folder() -> None:
    assert allocation_path(PROJECT.var, "feed_ab").parent == PROJECT.allocations
