"""The processes of a serving: started, taken over, kept running, stopped."""
