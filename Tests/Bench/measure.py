"""What the benchmarks share: running wrk, reading a process's CPU, comparing in turn, printing the table."""

import json
import os
import re
import statistics
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids):
    """User and system seconds that the processes have used so far."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def proportional_kib(pids):
    """Proportional set size in KiB: shared pages are counted once over all who share them."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M).group(1))
    return total


def wrk(url, connections, seconds, script=None, environment=None, threads=1):
    """Requests a second, median latency in µs and the count of requests; raises when any answer was not 2xx."""
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency"]
    if script:
        command += ["-s", os.path.join(HERE, "wrk", script)]
    output = subprocess.run(
        command + [url], env={**os.environ, **(environment or {})}, capture_output=True, text=True, check=True
    ).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(f"{url}: {output}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))
    number, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", output).groups()
    requests = int(re.search(r"(\d+) requests in", output).group(1))
    return {
        "rate": rate,
        "latency": float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit],
        "requests": requests,
    }


def limits(*words):
    """One line of JSON of the C program with what the parts below can do."""
    command = [os.environ["BENCH_LIMITS"], *map(str, words)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def in_turn(sides, rounds):
    """Runs each side of a comparison in turn, `rounds` times; gives each side's list of results."""
    results = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            results[name].append(run())
    return results


def median(values):
    return statistics.median(values)


def median_ratio(ours, other):
    """The median of the ratios of the pairs that ran side by side."""
    return statistics.median(a / b for a, b in zip(ours, other))


class Table:
    """The table of the issue: each line with both sides, the ratio, what was to be reached, and whether it was."""

    def __init__(self):
        self.rows = []

    def add(self, measure, ours, other, ratio, reach, good):
        self.rows.append((measure, ours, other, ratio, reach, good))
        word = "ok    " if good else "MISSED"
        print(f"{word} {measure}: {ours} against {other}; {ratio} (to reach: {reach})", flush=True)

    def missing(self, measure, why):
        self.rows.append((measure, "–", "–", "–", why, None))
        print(f"absent {measure}: {why}", flush=True)

    def markdown(self):
        lines = ["| measure | Skystead | the other side | ratio | to reach | |", "|---|---|---|---|---|---|"]
        for measure, ours, other, ratio, reach, good in self.rows:
            mark = {True: "reached", False: "missed", None: "not run"}[good]
            lines.append(f"| {measure} | {ours} | {other} | {ratio} | {reach} | {mark} |")
        return "\n".join(lines)


def wait_for(condition, seconds, what):
    """Polls until condition() is true; raises after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"not ready after {seconds} s: {what}")
        time.sleep(0.02)
