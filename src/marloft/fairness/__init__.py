"""Fairness of a decision between groups: audit with intervals, one mitigation, a report."""
