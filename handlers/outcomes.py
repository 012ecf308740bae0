"""Takes what users did with the items they were shown, and logs it."""

from marloft.serving.outcomes import OutcomeReceiver


class OutcomesHandler(OutcomeReceiver):
    """Answers `POST /outcomes`; all of it is in the base class."""
