"""Off-CPU profiling for Rover: where threads wait, and for how long."""
