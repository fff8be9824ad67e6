"""The tables of a session's journal, and the steps from older tables to them."""

from .checksums import COVERED, made
from .writing import Tables

SCHEMA = 2
READABLE = range(1, SCHEMA + 1)

MARKS = "CREATE TABLE IF NOT EXISTS marks (mark INTEGER PRIMARY KEY, header BLOB NOT NULL, checksum INTEGER)"
"""Made with a session's first mark: an earlier braind reads a journal with this table, and ignores the table."""

TABLES = Tables(
    sql="""
CREATE TABLE runs (
    run TEXT PRIMARY KEY, hello BLOB NOT NULL, weights TEXT NOT NULL, n_volumes INTEGER, opened_unix_s REAL NOT NULL,
    finish TEXT, checksum INTEGER);
CREATE TABLE volumes (
    arrival INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL REFERENCES runs, volume_index INTEGER NOT NULL,
    crc32 INTEGER NOT NULL, header BLOB NOT NULL, arrived_unix_s REAL NOT NULL, state TEXT NOT NULL,
    n_crashes INTEGER NOT NULL DEFAULT 0, checksum INTEGER, UNIQUE (run, volume_index));
CREATE INDEX volumes_by_state ON volumes (state, arrival);
CREATE TABLE voxels (
    arrival INTEGER PRIMARY KEY REFERENCES volumes, masked BLOB NOT NULL, whole BLOB, seen BLOB, checksum INTEGER);
CREATE TABLE events (
    run TEXT NOT NULL REFERENCES runs, event INTEGER NOT NULL, after_arrival INTEGER NOT NULL, header BLOB NOT NULL,
    seen BLOB, checksum INTEGER, PRIMARY KEY (run, event));
CREATE TABLE decodes (
    seq INTEGER PRIMARY KEY, run TEXT NOT NULL, volume_index INTEGER NOT NULL, event INTEGER NOT NULL,
    stage TEXT NOT NULL, header BLOB NOT NULL, payload BLOB, checksum INTEGER,
    UNIQUE (run, volume_index, event, stage));
CREATE TABLE masks (weights TEXT PRIMARY KEY, voxel_index BLOB NOT NULL, checksum INTEGER);
""",
    schema=SCHEMA,
    # Schema 1 had no checksums, and its oldest files have no voxel indices.
    migrations={
        1: "CREATE TABLE IF NOT EXISTS masks (weights TEXT PRIMARY KEY, voxel_index BLOB NOT NULL); "
        + " ".join(
            f"ALTER TABLE {table} ADD COLUMN checksum INTEGER; UPDATE {table} SET checksum = {made(table)};"
            for table in COVERED
        )
    },
)
