"""Guardrails: what is counted of a new version, how it is judged, and when it moves."""
