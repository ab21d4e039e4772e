"""On-CPU profiling for Rover: where processes burn their time."""
