#!/usr/bin/env python3
"""A table of what `scripts/bench uplink` measured: reads its lines of JSON, and prints a row for each figure that is known here.

A row that holds more than its bar allows, or less than it asks for, is marked. To add one of the lab's, add it to ROWS: what it
is, which line it is in, where in the line, and its bar if there is one. What was simulated says all that itself.
"""

import json
import sys

OUTPOST = "Outpost"

# (what, the line's experiment and figure, the path in it, unit, bar)
ROWS = [
    ("enrolling", "report/enrolment_bare", "bytes", "B", None),
    ("first connection with a report, 3 series", "report/first_connection_bare", "bytes", "B", None),
    ("next connection with a report, 3 series", "report/next_connection_bare", "bytes", "B", None),
    ("  packets of it", "report/next_connection_bare", "packets", "", None),
    ("  from dial to first ack", "report/next_connection_bare", "seconds_to_first_ack", "s", None),
    ("  its close", "report/next_close_bare", "bytes", "B", None),
    ("first connection with a report, Raspberry Pi 4", "report/first_connection_pi4", "bytes", "B", None),
    ("next connection with a report, Raspberry Pi 4", "report/next_connection_pi4", "bytes", "B", None),
    ("heartbeat", "report/heartbeat", "bytes_per_exchange", "B", 200),
    ("idle day, a heartbeat every minute", "report/heartbeat", "idle_day_bytes.every_minute", "B", None),
    ("idle day, a heartbeat every 15 minutes", "report/heartbeat", "idle_day_bytes.every_15_minutes", "B", 20_000),
    ("from the end of an outage to an ack", "walk/satellite_edge_wired_satellite_outage", "seconds_from_mended_to_ack", "s", None),
    ("from another NAT address to an ack", "walk/rebind", "seconds_from_rebind_to_ack", "s", None),
]
BYTES_PER_SAMPLE_BARS = {1: 1.05, 6: 1.0, 30: 1.0, 90: 1.0}


def main():
    lines = [json.loads(line) for line in sys.stdin]
    found = {f"{line['experiment']}/{line['figure']}": line for line in lines if "experiment" in line}
    rows = []
    for what, which, path, unit, bar in ROWS:
        value = found.get(which)
        for key in path.split("."):
            value = None if value is None else value.get(key)
        if value is not None:
            rows.append((what, value, unit, bar))
    show(("on the wire, whole packets of IP", "figure", "unit", "bar"), rows)
    simulated = [line for line in lines if "simulated" in line]
    rows = [(line["simulated"], line["value"], line["unit"], line.get("bar")) for line in simulated]
    least = {line["simulated"] for line in simulated if line.get("at_least")}
    show(("in a simulated link of 20 kbit/s and 600 ms, whole packets of IP", "figure", "unit", "bar"), rows, least)
    for line in lines:
        if "rival" in line:
            is_ours = line["rival"] == OUTPOST
            line["bar"] = BYTES_PER_SAMPLE_BARS.get(line["batch_ticks"]) if is_ours else None
    rivals = [
        (title(line), line["bytes_per_sample"], "B a sample", line["bar"])
        for line in lines
        if "rival" in line
    ]
    show(("samples encoded, without what carries them", "figure", "unit", "bar"), rivals)
    days = [
        (title(line), line["bytes_per_day"] + line["overhead_bytes_per_day"], "B a day", None)
        for line in lines
        if "overhead_bytes_per_day" in line
    ]
    show(("a day of them, with an estimate of what carries them", "figure", "unit", "bar"), days)


def title(line):
    ticks = line["batch_ticks"]
    return f"{line['rival']}, {ticks} tick{'s' if ticks > 1 else ''} a batch"


def show(head, rows, least=()):
    """Prints a table; of the rows that are named in `least` the bar is the least that they may hold."""
    if not rows:
        return
    texts = [head] + [(what, number(figure), unit, number(bar)) for what, figure, unit, bar in rows]
    marks = [""] + [mark(figure, bar, what in least) for what, figure, _, bar in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(4)]
    for (what, figure, unit, bar), said in zip(texts, marks):
        print(f"{what:<{widths[0]}}  {figure:>{widths[1]}}  {unit:<{widths[2]}}  {bar:>{widths[3]}}{said}".rstrip())
    print()


def mark(figure, bar, is_least):
    if bar is None:
        return ""
    if is_least:
        return "  under" if figure < bar else ""
    return "  over" if figure > bar else ""


def number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) or value >= 1000 else f"{value:,.2f}"


if __name__ == "__main__":
    main()
