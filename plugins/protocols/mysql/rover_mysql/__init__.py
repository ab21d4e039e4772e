"""MySQL's client/server protocol as a protocol of Rover."""
