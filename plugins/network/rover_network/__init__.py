"""Network profiling for Rover: every connection's counters and histograms, from the kernel."""
