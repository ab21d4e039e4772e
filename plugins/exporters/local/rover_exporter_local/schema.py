"""The store's tables. Strings, frames and stacks are kept once, so a repeated flush costs its samples alone.

A stack is its frames' numbers, four bytes each, leaf first. The offset of a frame is an address of 64 bits kept
as a signed integer, the only kind SQLite has.
"""

APPLICATION_ID = 0x526F7672  # "Rovr": tells our files from other SQLite databases
VERSION = 3

LABELS = """
CREATE TABLE labels (id INTEGER PRIMARY KEY, pairs TEXT NOT NULL UNIQUE);  -- JSON: [[name, value], ...]
INSERT INTO labels VALUES (0, '[]');
"""
"""Since version 2."""

TELEMETRY = """
CREATE TABLE flows (
    profile INTEGER PRIMARY KEY REFERENCES profiles ON DELETE CASCADE,
    packed BLOB NOT NULL  -- see flowpacking.py
);
CREATE TABLE talkers (  -- whose flows they are
    profile INTEGER NOT NULL REFERENCES profiles ON DELETE CASCADE,
    process INTEGER NOT NULL,
    PRIMARY KEY (profile, process)
) WITHOUT ROWID;
"""
"""Since version 3."""

TABLES = f"""
CREATE TABLE strings (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE frames (
    id INTEGER PRIMARY KEY,
    symbol INTEGER NOT NULL,  -- 0: unresolved
    module INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    kernel INTEGER NOT NULL,
    UNIQUE (symbol, module, offset, kernel)
);
CREATE TABLE stacks (id INTEGER PRIMARY KEY, frames BLOB NOT NULL UNIQUE);
CREATE TABLE processes (
    id INTEGER PRIMARY KEY,
    pid INTEGER NOT NULL,
    start_ticks INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (pid, start_ticks, name)
);
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    profiler TEXT NOT NULL,
    sample_types TEXT NOT NULL  -- JSON: [[name, unit], ...]; [] if its profiles are telemetry
);
CREATE TABLE profiles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task INTEGER NOT NULL REFERENCES tasks,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    period_ns INTEGER NOT NULL,
    attributes TEXT NOT NULL  -- JSON object
);
CREATE INDEX profiles_by_task ON profiles (task);
CREATE TABLE completeness (
    profile INTEGER NOT NULL REFERENCES profiles ON DELETE CASCADE,
    what TEXT NOT NULL,   -- expected, kept, lost, degraded
    cause TEXT NOT NULL,  -- of what was lost or degraded, else ''
    samples INTEGER NOT NULL,
    PRIMARY KEY (profile, what, cause)
) WITHOUT ROWID;
CREATE TABLE samples (
    profile INTEGER NOT NULL REFERENCES profiles ON DELETE CASCADE,
    place INTEGER NOT NULL,  -- of the sample in its profile
    type INTEGER NOT NULL,   -- of the value among the task's sample types
    process INTEGER NOT NULL,
    user INTEGER NOT NULL,
    kernel INTEGER NOT NULL,
    value INTEGER NOT NULL,
    labels INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (profile, place, type)
) WITHOUT ROWID;
INSERT INTO strings VALUES (0, '');
{LABELS}
{TELEMETRY}
"""

MIGRATIONS = {
    1: f"ALTER TABLE samples ADD COLUMN labels INTEGER NOT NULL DEFAULT 0; {LABELS}",
    2: TELEMETRY,
}
"""By version: what makes the next one of it."""

LATER = (
    """
CREATE TABLE IF NOT EXISTS files (
    name TEXT PRIMARY KEY,  -- in the store's directory
    size INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL
) WITHOUT ROWID
""",
    """
CREATE TABLE IF NOT EXISTS exchanges (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    task TEXT NOT NULL,
    trace TEXT NOT NULL,  -- its id, '' without one
    end_ns INTEGER NOT NULL,
    record BLOB NOT NULL  -- JSON, compressed
)
""",
    "CREATE INDEX IF NOT EXISTS exchanges_by_end ON exchanges (end_ns)",
    "CREATE INDEX IF NOT EXISTS exchanges_by_trace ON exchanges (trace)",
)
"""Made when missing: nothing else changes in a store of the same version that lacks them."""
