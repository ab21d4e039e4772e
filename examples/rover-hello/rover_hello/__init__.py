"""Profiles as CSV: an example of a third party's plugin."""
