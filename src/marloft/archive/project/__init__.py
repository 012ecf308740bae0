"""Begins a project of your own, or takes over a stock archive."""
