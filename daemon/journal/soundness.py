"""Whether a journal's rows are all there and as they were written, but for voxels, pictures and decodes.

Voxels, pictures and decodes are large. Their checksums are compared when they are read.
"""

from .checksums import is_right
from .database import DatabaseReader
from .records import VOLUME_STATES


def find_damage(database: DatabaseReader) -> str | None:
    """Return a description of the first damage; None if nothing is damaged."""
    # This compares each table with its indices too.
    (first,) = database.row("PRAGMA integrity_check(1)")
    if first != "ok":
        return " ".join(first.split())
    for table in ("runs", "volumes", "events"):
        row = database.row(f"SELECT rowid FROM {table} WHERE NOT {is_right(table)} LIMIT 1")
        if row:
            return f"the bytes of row {row[0]} in table {table} do not match their checksum"
    known = ", ".join(f"'{state}'" for state in VOLUME_STATES)
    row = database.row(f"SELECT arrival, state FROM volumes WHERE state NOT IN ({known}) LIMIT 1")
    if row:
        return f"arrival {row[0]} in table volumes has the unknown state {row[1]!r:.80}"
    # Arrivals count from 1, and no volume is ever deleted.
    n_volumes, highest = database.row("SELECT count(*), coalesce(max(arrival), 0) FROM volumes")
    if n_volumes != highest:
        return f"table volumes has {n_volumes} rows, and its highest arrival is {highest}"
    (n_voxels,) = database.row("SELECT count(*) FROM voxels")
    if n_voxels != n_volumes:
        return f"table voxels has {n_voxels} rows, and table volumes {n_volumes}"
    row = database.row("SELECT rowid FROM decodes WHERE seq IS NOT rowid LIMIT 1")
    if row:
        return f"row {row[0]} in table decodes has lost its number"
    return None
