"""Design, size, analysis and report of an A/B experiment, from its file and the logs alone."""
