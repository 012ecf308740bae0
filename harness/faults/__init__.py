"""What can go wrong with a running `marloft serve`, one module for each kind of thing."""
