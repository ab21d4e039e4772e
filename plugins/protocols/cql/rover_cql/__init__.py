"""The CQL native protocol as a protocol of Rover."""
