"""Lets Rover work for an Apache SkyWalking backend: reports processes, takes tasks, delivers what they saw."""
