"""Reads Redis's protocol (RESP2 and RESP3)."""
