"""Model archives: built reproducibly, verified without running them, replayed as a worker would."""
