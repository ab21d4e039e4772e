"""Plain text of encrypted connections: which files can be probed, and the probes."""
