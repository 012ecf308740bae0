"""What the options about signatures ask for."""

from pathlib import Path

from marloft.cli.options import trust_policy
from marloft.contract.policy import TrustPolicy


def test_policy_is_what_the_options_say() -> None:
    assert trust_policy(None, required=False) == TrustPolicy()
    wanted = TrustPolicy(signature="required", public_key="keys/marloft.pub")
    assert trust_policy(Path("keys/marloft.pub"), required=True) == wanted
