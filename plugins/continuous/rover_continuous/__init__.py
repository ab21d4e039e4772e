"""Continuous profiling: watches processes cheaply and begins to profile when thresholds are passed."""
