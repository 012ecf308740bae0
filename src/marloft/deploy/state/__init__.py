"""What a running `marloft serve` says of itself: in memory, at its endpoint, on disk."""
