"""Kafka's protocol as a protocol of Rover."""
