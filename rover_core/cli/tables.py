"""Tables of the command line. They live on floor 1, where the commands that plugins add can reach them too."""

from rover_core.tables import print_completeness, print_hottest

__all__ = ["print_completeness", "print_hottest"]
