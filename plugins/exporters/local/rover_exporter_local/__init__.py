"""Keeps profiles on this host for Rover: an SQLite store, flame graphs, pprof, speedscope, folded stacks."""
