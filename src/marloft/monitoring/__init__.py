"""Metrics of the running system: live numbers from the log, the exporter, the dashboard."""
