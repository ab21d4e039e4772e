"""The MongoDB wire protocol as a protocol of Rover."""
