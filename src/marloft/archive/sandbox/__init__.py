"""Runs an archive's handler in a confined process."""
