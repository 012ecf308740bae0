"""Brings what is real to the newest release: observe, decide, act."""
