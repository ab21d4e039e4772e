"""HTTP/1.x (RFC 9112) as a protocol of Rover."""
