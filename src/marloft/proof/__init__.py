"""Proof of what is promised: the table of deliverables, its checks, and one committed run."""
