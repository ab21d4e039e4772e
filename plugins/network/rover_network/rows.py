"""The layout of what the kernel program counts: rover/flows.h in numpy types."""

import numpy as np

FIGURES = ("write", "read", "write_rtt", "connect", "close")
"""enum rover_figure."""
ROLES = ("", "client", "server")
"""enum rover_role."""
BUCKETS_NS = tuple(
    round(ms * 1_000_000)
    for ms in (
        *(0, 0.01, 0.05, 0.1, 0.5, 1, 1.2, 1.5, 1.7, 2, 2.5, 3, 5, 7, 10, 13, 16, 20, 25, 30, 35, 40, 45, 50),
        *(70, 100, 150, 200, 300, 500, 1000, 2000, 3000, 5000),
    )
)
"""Lower bounds of the histograms' buckets (contract section 5.2)."""

KEY = np.dtype([("inode", "<u4"), ("tgid", "<u4"), ("peer", "<u8")])
FACTS = np.dtype(
    [
        ("start_ns", "<u8"),
        ("local", "u1", (16,)),
        ("remote", "u1", (16,)),
        ("comm", "S16"),
        ("speaks", "<u4"),
        ("tls", "<u2"),
        ("shared", "<u2"),
        ("netns", "<u4"),
        ("peer", "<u4"),
        ("local_port", "<u2"),
        ("remote_port", "<u2"),
        ("family", "<u2"),
        ("protocol", "u1"),
        ("role", "u1"),
    ]
)
STREAM = np.dtype(
    [
        ("position", "<u8", (2,)),
        ("turned", "<u8"),
        ("only", "<u8"),
        ("calls", "<u4"),
        ("tries", "<u2"),
        ("last", "u1"),
        ("answers", "u1"),
        ("protocol", "<u4"),
        ("generation", "<u4"),
    ]
)
CONNECTION = np.dtype([("facts", FACTS), ("stream", STREAM)])
SUM = np.dtype(
    [
        ("bytes", "<u8"),
        ("ns", "<u8"),
        ("untimed", "<u4"),
        ("histogram", "<u4", (len(BUCKETS_NS),)),
        ("unused", "<u4"),
    ]
)
ROW = np.dtype(
    [
        ("facts", FACTS),
        ("sums", SUM, (len(FIGURES),)),
        ("retransmits", "<u8"),
        ("drops", "<u8"),
        ("errors", "<u8"),
    ]
)
REASON = np.dtype([("key", KEY), ("reason", "<u8")])
CONFIG = np.dtype(
    [
        ("epoch", "<u4"),
        ("all", "<u4"),
        ("lengths", "<u4"),
        ("renames", "<u4"),
        ("generation", "<u8"),
        ("protocols", "<u4"),
        ("rings", "<u4"),
    ]
)
TALLIES = (
    "rows_full",
    "rows_shared",
    "new_rows",
    "new_connections",
    "gone_connections",
    "calls_seen",
    "calls_asked",
    "calls_shipped",
    "classified",
    "ring_full",
    "tls_homeless",
    "passed_over",
)
"""enum rover_tally."""
