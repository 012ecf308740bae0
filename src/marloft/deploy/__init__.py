"""Bring a release to life outside the workers: the gateway, its routes, the ports."""
