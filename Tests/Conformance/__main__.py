"""The conformance suite against one PDS: `scripts/conformance URL`. docs/conformance.md has the options."""

import argparse
import json
import sys
import time
import traceback

import basics
import clients
import hostile
import life
import migration
import services
from doubles import Doubles
from suite import Skip, Suite
from verify import Wrong

# What a row can need, and the option that gives it.
NEEDS = {
    "admin_password": "--admin-password",
    "plc_url": "--plc-url",
    "session_key": "--session-key",
    "appview_listen": "--appview-listen",
    "service_listen": "--service-listen",
    "mail": "--smtp-listen or --mail-directory",
    "outdate_events": "--outdate-events",
    "expire_mail_codes": "--expire-mail-codes",
}
TABLES = [basics.table, clients.table, services.table, life.table, migration.table]


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="scripts/conformance", description="Tries a PDS from outside: rows 1-91 of docs/conformance.md.")
    add = parser.add_argument
    add("url", help="base URL of the PDS, such as https://home.example")
    add("--rows", help="only these, such as 1-20,41 or J001,C040-C049")
    add("--hostile", action="store_true", help="the table of hostile inputs instead")
    add("--hostile-seconds", type=float, default=1.0, help="the longest that a hostile input may take (default: 1)")
    add("--list", action="store_true", help="print the rows and try nothing")
    add("--report", help="a file for the verdicts as JSON")
    add("--invite-code", help="a code with at least 60 uses; without it one is made with --admin-password")
    add("--account", action="append", default=[], metavar="HANDLE,PASSWORD",
        help="an account that is there, given twice for two: rows that need accounts of their own are then skipped")
    add("--admin-password", help="the operator's password (Basic, user admin)")
    add("--plc-url", help="the PLC directory that the PDS uses; identities for tests are registered there")
    add("--session-key", help="the HS256 key of session tokens, in hexadecimal: for tokens that have expired")
    add("--appview-listen", help="HOST:PORT where the PDS's AppView is; the suite answers there")
    add("--appview-did", default="did:web:appview.test", help="the DID that the PDS has for that AppView")
    add("--service-listen", help="HOST:PORT that the PDS may reach as a service of atproto-proxy")
    add("--smtp-listen", help="HOST:PORT where the PDS hands its mail over; the suite takes it there")
    add("--mail-directory", help="a directory where the PDS's mail comes to lie, a file each")
    add("--outdate-events", help="a command after which the event window begins anew")
    add("--expire-mail-codes", help="a command after which every code that was mailed has expired")
    return parser.parse_args(arguments)


def chosen(rows, text):
    """The rows that `text` names by number and range."""
    if not text:
        return rows
    numbers = [str(row.number) for row in rows]
    wanted = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in numbers or (last and last not in numbers):
            raise SystemExit(f"there is no row {part}")
        wanted |= set(range(numbers.index(first), numbers.index(last or first) + 1))
    return [row for place, row in enumerate(rows) if place in wanted]


def verdict(suite, row):
    """(ok, skip or FAIL; what to say about it)."""
    missing = [NEEDS[need] for need in row.needs if getattr(suite.options, need) is None]
    if missing:
        return "skip", f"without {', '.join(missing)}"
    suite.left, suite.server.last = [], None
    try:
        row.run(suite)
    except Skip as reason:
        return "skip", str(reason)
    except Wrong as wrong:
        last = f"\n      last: {suite.server.last}" if suite.server.last else ""
        return "FAIL", f"{wrong}{last}"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)
        own = next((frame for frame in reversed(place) if "Conformance" in frame.filename), place[-1])
        last = f"\n      last: {suite.server.last}" if suite.server.last else ""
        return "FAIL", f"{error!r} at {own.filename.rsplit('/', 1)[1]}:{own.lineno}{last}"
    return ("skip", "done but for: " + "; ".join(suite.left)) if suite.left else ("ok", "")


def main():
    options = parse(sys.argv[1:])
    rows = hostile.table.rows if options.hostile else sorted(
        (row for table in TABLES for row in table.rows), key=lambda row: row.number)
    rows = chosen(rows, options.rows)
    if options.list:
        for row in rows:
            print(f"{row.number!s:>5}  {row.text}")
        return 0
    options.mail = options.smtp_listen or options.mail_directory
    counts = {"ok": 0, "FAIL": 0, "skip": 0}
    report = []
    with Doubles(options) as doubles:
        suite = Suite(options, doubles)
        for row in rows:
            begun = time.monotonic()
            word, note = verdict(suite, row)
            seconds = time.monotonic() - begun
            counts[word] += 1
            report.append({"row": row.number, "text": row.text, "verdict": word, "note": note, "seconds": seconds})
            shown = "SKIPPED" if word == "skip" else word
            print(f"{row.number!s:>5}  {shown:7}  {seconds:6.2f} s  {row.text}", flush=True)
            if note:
                print(f"      {note}", flush=True)
    if options.report:
        with open(options.report, "w") as file:
            json.dump(report, file, indent=1)
    for word, heading in (("skip", "SKIPPED"), ("FAIL", "FAILED")):
        numbers = [str(one["row"]) for one in report if one["verdict"] == word]
        if numbers:
            print(f"{heading}: {', '.join(numbers)}")
    print(f"{counts['ok']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
