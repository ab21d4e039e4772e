"""The network plugin's hooks."""
