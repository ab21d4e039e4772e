"""DNS (RFC 1035) as a protocol of Rover."""
