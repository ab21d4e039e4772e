"""Finds the processes of this host for Rover."""
