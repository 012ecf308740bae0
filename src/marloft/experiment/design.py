"""An experiment as it is written down before it starts: `experiment.yaml` and its hash."""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from marloft.contract.manifest import Name
from marloft.contract.release import Allocation, Arm
from marloft.files import read_yaml

Salt = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{0,64}\Z")]
Share = Annotated[float, Meta(gt=0, lt=1)]
Text = Annotated[str, Meta(min_length=1)]
Duration = Annotated[str, Meta(pattern=r"^[1-9][0-9]*(s|m|h|d)\Z")]


class CtrMetric(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Click-through rate: clicks on the first `top` items of an answer per such item shown.

    `event` is the outcome that counts as a click. An item clicked twice counts once. `top` is of
    rankings: other answers show all their entries, which are in the order of the request.
    """

    event: Text = "click"
    top: Annotated[int, Meta(ge=1)] = 3


class ModelTimeMetric(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Mean time inside the model per answered request, in ms; less is better."""

    field: Literal["predict_ms"] = "predict_ms"


class LatencyMetric(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A quantile of the whole latency per answered request, in ms; less is better."""

    field: Literal["latency_ms"] = "latency_ms"
    quantile: Share = 0.99


class Metrics(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is measured: `ctr` guards quality, `model_time` is the hoped-for gain."""

    ctr: CtrMetric = CtrMetric()
    model_time: ModelTimeMetric = ModelTimeMetric()
    latency: LatencyMetric = LatencyMetric()


class DecisionRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to ship; all margins are relative to control (0.1 = 10 %).

    - `ctr_margin`: CTR is *not inferior* when its whole interval lies above -`ctr_margin`.
    - `ctr_harm`: CTR *harm is shown* when its whole interval lies below -`ctr_harm` and it is not
      shown to be non-inferior; at most `ctr_margin`.
    - `latency_margin`: the latency quantile is *not worse* when the whole interval of the arms'
      ratio lies below 1 + `latency_margin`, and *clearly worse* when it lies above.
    - `alpha`: two-sided significance level; intervals have level 1 - `alpha`.
    - `power`: the power that the planned size is computed for.
    """

    ctr_margin: Share
    latency_margin: Annotated[float, Meta(gt=0)]
    ctr_harm: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    alpha: Annotated[float, Meta(gt=0, lt=0.5)] = 0.05
    power: Share = 0.8

    def __post_init__(self) -> None:
        """Refuse a harm bound that non-inferiority would contradict."""
        if self.ctr_harm > self.ctr_margin:
            raise ValueError(
                f"ctr_harm {self.ctr_harm} is above ctr_margin {self.ctr_margin}; "
                "it must be between 0 and ctr_margin"
            )


class SampleSizePlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to run: all arms' users together, and a duration such as `14d`, `6h`, `60s`."""

    users: Annotated[int, Meta(ge=2)]
    duration: Duration


class Experiment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The design of one experiment.

    The first arm is control, the second the candidate that the decision is about; further arms
    are assigned, checked and reported. `salt` defaults to the name.
    """

    name: Name
    hypothesis: Text
    arms: Annotated[list[Arm], Meta(min_length=2)]
    decision: DecisionRule
    plan: SampleSizePlan
    salt: Salt = ""
    unit: Literal["user_id"] = "user_id"
    metrics: Metrics = Metrics()

    def __post_init__(self) -> None:
        """Fill in the salt; refuse two arms of one name."""
        if not self.salt:
            msgspec.structs.force_setattr(self, "salt", self.name)
        names = [arm.name for arm in self.arms]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"arm name {twice[0]!r} is used twice; give each arm its own")

    @property
    def control(self) -> Arm:
        """The arm that the others are compared with."""
        return self.arms[0]

    @property
    def candidate(self) -> Arm:
        """The arm that may be shipped."""
        return self.arms[1]


def read_experiment(path: Path) -> Experiment:
    """Read `experiment.yaml`.

    Raises:
        ConfigError: the file is missing or wrong; for an unknown key it names the nearest one.
    """
    return read_yaml(path, Experiment)


def allocation_of(experiment: Experiment) -> Allocation:
    """Return the split that the experiment asks a release to carry."""
    return Allocation(
        name=experiment.name,
        salt=experiment.salt,
        unit=experiment.unit,
        arms=experiment.arms,
    )


def design_hash(experiment: Experiment) -> str:
    """Return the SHA-256 of the design without its weights, as 64 hex digits.

    Weights may change while an experiment runs, the rest may not. Order of keys, comments and
    left-out defaults do not matter.
    """
    content = msgspec.to_builtins(experiment)
    for arm in content["arms"]:
        del arm["weight"]
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()
