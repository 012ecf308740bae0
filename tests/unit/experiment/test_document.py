"""The design in words: everything that is fixed before the first request."""

from harness.factories import REPOSITORY
from marloft.experiment.design import design_hash, read_experiment
from marloft.experiment.document import design_document

EXPERIMENT = read_experiment(REPOSITORY / "workflows" / "feed_ab" / "experiment.yaml")


def test_design_document_states_hypothesis_rule_and_split() -> None:
    text = design_document(EXPERIMENT)
    assert EXPERIMENT.hypothesis in text
    assert "lies above -10%" in text
    assert "lies below 0%" in text
    assert "+25%" in text
    assert 'xxh64("feed_ab:<user id>") mod 100' in text


def test_design_document_names_each_arm_and_the_design_it_is_of() -> None:
    text = design_document(EXPERIMENT)
    assert design_hash(EXPERIMENT) in text
    for arm in EXPERIMENT.arms:
        assert f"| {arm.name} | " in text
