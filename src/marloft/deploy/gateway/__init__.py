"""The gateway: Envoy's configuration, rendered from releases, and what it counts."""
