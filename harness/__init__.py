"""What tests and benchmarks share: a running `marloft serve`, steady load, simulated roll-outs.

Neither imports the other, and no user installs this.
"""
