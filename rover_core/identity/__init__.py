"""What a process of this host is to a backend: what the discovery plugins have in common. Floor 1."""
