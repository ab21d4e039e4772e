"""eBPF runtime of Rover: loading, attaching, reading maps and rings, symbols."""
