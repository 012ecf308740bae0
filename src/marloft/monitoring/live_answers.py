"""The answers of the live window by their declared type, and what is counted of them.

What was clicked counts for all types. What an answer was right about is known from clicks for a
ranking: the label of a shown item is whether it was clicked, its prediction is
`score ≥ threshold`. For a classification or a regression it is what `label` outcomes say; of an
embedding or an object no error is defined.

Accuracy, precision and recall follow from the four counts
(https://scikit-learn.org/stable/modules/model_evaluation.html#classification-metrics). Precision
and recall need to know which label is the positive one: a click, or `true`. Other labels have none.
"""

from typing import Any

from msgspec import Struct

from marloft.contract.shown import ShownEntries

THRESHOLD = 0.5


class Counts(Struct, kw_only=True):
    """The counts of one group; every ratio is None when its denominator is 0.

    `labelled` entries have a label, those that are `right` the predicted one; `absolute_error` is
    the sum over the `measured` ones.
    """

    answers: int = 0
    conversions: int = 0
    shown: int = 0
    clicked: int = 0
    labelled: int = 0
    right: int = 0
    true_positive: int = 0
    false_positive: int = 0
    false_negative: int = 0
    true_negative: int = 0
    measured: int = 0
    absolute_error: float = 0.0

    @property
    def ctr(self) -> float | None:
        """Clicked items per shown item."""
        return _ratio(self.clicked, self.shown)

    @property
    def conversion(self) -> float | None:
        """Answers with a conversion per answer."""
        return _ratio(self.conversions, self.answers)

    @property
    def accuracy(self) -> float | None:
        """Entries whose prediction and label agree, per entry that has a label."""
        return _ratio(self.right, self.labelled)

    @property
    def precision(self) -> float | None:
        """Positive entries per entry predicted to be so."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float | None:
        """Entries predicted to be positive per entry that is so."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def mean_absolute_error(self) -> float | None:
        """Distance of a predicted number from the true one, in the unit of the prediction."""
        return _ratio(self.absolute_error, self.measured)


class LiveAnswer(Struct, kw_only=True, gc=False):
    """One answer in the window; bit n of `clicked` is the n-th shown entry."""

    time_s: float
    group: int
    shown: ShownEntries
    clicked: int = 0
    converted: bool = False

    def click(self, item_id: int | str | None) -> None:
        """Note a click on a shown entry; a second one on the same changes nothing."""
        place = self.shown.place_of(item_id)
        if place is not None:
            self.clicked |= 1 << place

    def label(self, item_id: int | str | None, label: Any) -> None:
        """Note the truth about an entry, the first that is told."""

    def add_to(self, counts: Counts) -> None:
        """Count this answer."""
        counts.answers += 1
        counts.conversions += self.converted
        counts.shown += self.shown.count
        counts.clicked += self.clicked.bit_count()


class RankedAnswer(LiveAnswer, kw_only=True, gc=False):
    """A ranking, or an answer without a declared type; bits of `positive` are scores ≥ threshold.

    `positive` is None for an answer without a score for each item.
    """

    positive: int | None

    def add_to(self, counts: Counts) -> None:
        """Count this answer, shown items against clicks."""
        LiveAnswer.add_to(self, counts)
        if self.positive is None:
            return
        hits = (self.clicked & self.positive).bit_count()
        passed_over = self.shown.count - (self.clicked | self.positive).bit_count()
        counts.true_positive += hits
        counts.false_positive += self.positive.bit_count() - hits
        counts.false_negative += self.clicked.bit_count() - hits
        counts.true_negative += passed_over
        counts.labelled += self.shown.count
        counts.right += hits + passed_over


class LabelledAnswer(LiveAnswer, kw_only=True, gc=False):
    """A classification or a regression; `labels` are those told, by the entry's place."""

    predicted: list[Any]
    labels: dict[int, Any] | None = None

    def label(self, item_id: int | str | None, label: Any) -> None:
        """Note the truth about an entry, the first that is told."""
        place = self.shown.place_of(item_id)
        if place is None or place >= len(self.predicted):
            return
        if self.labels is None:
            self.labels = {}
        self.labels.setdefault(place, label)

    def pairs(self) -> list[tuple[Any, Any]]:
        """Return prediction and label of the entries that have one."""
        return [(self.predicted[place], label) for place, label in (self.labels or {}).items()]


class ClassifiedAnswer(LabelledAnswer, kw_only=True, gc=False):
    """A classification; labels are compared as JSON values: 1 is neither `true` nor "1"."""

    def add_to(self, counts: Counts) -> None:
        """Count this answer, predictions against labels."""
        LiveAnswer.add_to(self, counts)
        for predicted, label in self.pairs():
            counts.labelled += 1
            counts.right += _same(predicted, label)
            if isinstance(predicted, bool) and isinstance(label, bool):
                counts.true_positive += predicted and label
                counts.false_positive += predicted and not label
                counts.false_negative += label and not predicted
                counts.true_negative += not (predicted or label)


class EstimatedAnswer(LabelledAnswer, kw_only=True, gc=False):
    """A regression; a label that is no number says nothing about it."""

    def add_to(self, counts: Counts) -> None:
        """Count this answer, predicted numbers against true ones."""
        LiveAnswer.add_to(self, counts)
        for predicted, label in self.pairs():
            if isinstance(label, int | float) and not isinstance(label, bool):
                counts.measured += 1
                counts.absolute_error += abs(predicted - label)


def positive_bits(scores: list[float], top: int) -> int:
    """Return the bits of the `top` best scores: the log has them in the request's order."""
    best = sorted(scores, reverse=True)[:top]
    return sum(1 << place for place, score in enumerate(best) if score >= THRESHOLD)


def _same(predicted: Any, label: Any) -> bool:
    return isinstance(predicted, bool) == isinstance(label, bool) and bool(predicted == label)


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None
