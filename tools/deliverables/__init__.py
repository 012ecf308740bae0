"""The table of deliverables with its checks, the committed results of one run, and the talk."""
