"""HTTP/2: a protocol plugin of Rover."""
