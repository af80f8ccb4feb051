"""Makes what a stopped clock can't: what the service keeps for a time has been kept for too long.

    pass_time.py events|codes

The service is the one of the SKYSTEAD_ settings in the environment. `events`: every event is older than the window,
and is collected. `codes`: every code that was mailed has expired.
"""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECT = [ROOT / ".build" / os.environ.get("SKYSTEAD_BUILD", "release") / "skystead-worker", "collect"]
WAYS = {
    "events": ("UPDATE event SET created_at = 0", COLLECT),
    "codes": ("UPDATE account_token SET expires_at = 1", None),
}


def execute(statement):
    """Runs a statement on the service's database, beside the service."""
    if url := os.environ.get("SKYSTEAD_DATABASE_URL"):
        subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", url, "-c", statement], check=True)
        return
    database = sqlite3.connect(Path(os.environ["SKYSTEAD_DATA_DIR"]) / "skystead.sqlite", timeout=20)
    with database:
        database.execute(statement)
    database.close()


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in WAYS:
        sys.exit(f"usage: pass_time.py {'|'.join(WAYS)}")
    statement, command = WAYS[sys.argv[1]]
    execute(statement)
    if command:
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
