#!/usr/bin/env python3
"""What others take for the same samples: a line of JSON for each encoder and length of a batch.

    cargo sim samples --days 1 --out samples.csv
    scripts/rivals/rivals.py [--ticks N] [--batches 1,6,30,90] <samples.csv

Reads kinds, names and ticks as `cargo sim samples` writes them. Each body is decoded again, and every sample of it compared.
`bytes_per_sample` and `bytes_per_day` are bodies alone; what carries them is an estimate beside them (see overhead.py). A day
has as many ticks as fit it at the interval of the first two.

Needs what requirements.txt names; `scripts/bench uplink` installs it.
"""

import argparse
import csv
import json
import re
import sys
from itertools import islice

import encoders
import overhead

RIVALS = [
    ("Prometheus remote write 1, snappy", "remote_write_1", overhead.REMOTE_WRITE_1),
    ("Prometheus remote write 2, snappy", "remote_write_2", overhead.REMOTE_WRITE_2),
    ("OTLP, gzip", "otlp_gzip", overhead.OTLP_GZIP),
    ("OTLP, zstd", "otlp_zstd", overhead.OTLP_ZSTD),
    ("Influx line protocol, gzip", "influx", overhead.INFLUX),
    ("Zabbix agent, zlib", "zabbix", overhead.ZABBIX),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, help="how many ticks are read (default: all)")
    parser.add_argument("--batches", default="1,6,30,90", help="ticks in a batch (default: 1,6,30,90)")
    arguments = parser.parse_args()
    series, ticks = read(sys.stdin, arguments.ticks)
    for name, encoder, overhead_of in RIVALS:
        for batch_ticks in map(int, arguments.batches.split(",")):
            figures = measure(series, ticks, encoder, overhead_of, batch_ticks)
            print(json.dumps({"rival": name, "batch_ticks": batch_ticks, **figures}), flush=True)


def read(lines, tick_count):
    rows = csv.reader(lines)
    kinds, names = next(rows), next(rows)
    if kinds[0] != "kind" or names[0] != "timestamp_ms":
        sys.exit("rivals: the first line is to say the kinds and the second one the names: see cargo sim samples")
    ticks = [(int(row[0]), row[1:]) for row in islice(rows, tick_count)]
    if len(ticks) < 2:
        sys.exit("rivals: two ticks at least are to stand there")
    columns = zip(*(values for _, values in ticks))
    series = [
        encoders.Series(*name_of(name), kind == "counter", all("." not in text for text in column))
        for name, kind, column in zip(names[1:], kinds[1:], columns)
    ]
    return series, ticks


def name_of(text):
    """`name{key="value",..}` as a name and its pairs."""
    name, _, labels = text.partition("{")
    return name, tuple(re.findall(r'(\w+)="([^"]*)"', labels))


def measure(series, ticks, encoder, overhead_of, batch_ticks):
    encode, decode = (getattr(encoders, f"{way}_{encoder}") for way in ("encode", "decode"))
    # Whole batches alone: a short one at the end costs more.
    batches = [ticks[begin : begin + batch_ticks] for begin in range(0, len(ticks) - batch_ticks + 1, batch_ticks)]
    if not batches:
        sys.exit(f"rivals: {len(ticks)} ticks are no batch of {batch_ticks}")
    body_bytes = carried_bytes = 0
    for batch in batches:
        body = encode(series, batch)
        if sorted(decode(series, body)) != sorted(encoders.samples_of(series, batch)):
            sys.exit(f"rivals: {encoder} does not give back the batch of {batch[0][0]}")
        body_bytes += len(body)
        carried_bytes += overhead_of(len(body))
    tick_count = len(batches) * batch_ticks
    ticks_a_day = 86_400_000 / (ticks[1][0] - ticks[0][0])
    return {
        "bytes_per_sample": round(body_bytes / (tick_count * len(series)), 3),
        "bytes_per_day": round(body_bytes * ticks_a_day / tick_count),
        "overhead_bytes_per_day": round(carried_bytes * ticks_a_day / tick_count),
    }


if __name__ == "__main__":
    main()
