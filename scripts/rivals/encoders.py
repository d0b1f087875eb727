"""How others put samples on a wire, with the libraries that they use, and how they read them back.

An encoder turns a batch into the body of one request and the body into samples again. Each is given its best: a series once
in a request with all its samples, where Prometheus and the collector repeat it with every sample; fields of one device in one
line; identical timestamps without jitter.
"""

import gzip
import json
import zlib
from collections import defaultdict
from dataclasses import dataclass

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

HOST = "gw-0042"


@dataclass(frozen=True)
class Series:
    """What a value belongs to."""

    name: str
    labels: tuple  # of pairs, in the order of their names
    is_counter: bool
    is_whole: bool  # every value of it is an integer


def samples_of(series, batch):
    """The samples of a batch, as every decoder gives them back: (name, labels, timestamp in ms, value)."""
    return [
        (one.name, one.labels, at_ms, float(text))
        for at_ms, values in batch
        for one, text in zip(series, values)
    ]


# Prometheus remote write: prometheus/prompb/remote.proto and types.proto, io/prometheus/write/v2/types.proto, as far as samples
# need them.
TYPES = descriptor_pb2.FieldDescriptorProto
MESSAGES = {
    "Label": [(1, "name", TYPES.TYPE_STRING, ""), (2, "value", TYPES.TYPE_STRING, "")],
    "Sample": [(1, "value", TYPES.TYPE_DOUBLE, ""), (2, "timestamp", TYPES.TYPE_INT64, "")],
    "Series1": [(1, "labels", TYPES.TYPE_MESSAGE, "Label*"), (2, "samples", TYPES.TYPE_MESSAGE, "Sample*")],
    "Request1": [(1, "timeseries", TYPES.TYPE_MESSAGE, "Series1*")],
    "Metadata": [(1, "type", TYPES.TYPE_UINT32, ""), (3, "help_ref", TYPES.TYPE_UINT32, "")],
    "Series2": [
        (1, "labels_refs", TYPES.TYPE_UINT32, "*"),
        (2, "samples", TYPES.TYPE_MESSAGE, "Sample*"),
        (5, "metadata", TYPES.TYPE_MESSAGE, "Metadata"),
    ],
    "Request2": [(4, "symbols", TYPES.TYPE_STRING, "*"), (5, "timeseries", TYPES.TYPE_MESSAGE, "Series2*")],
}
METADATA_COUNTER, METADATA_GAUGE = 1, 2


def message_classes():
    file = descriptor_pb2.FileDescriptorProto(name="remote_write.proto", package="rivals", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field_name, kind, of in fields:
            field = message.field.add(name=field_name, number=number, type=kind)
            field.label = TYPES.LABEL_REPEATED if of.endswith("*") else TYPES.LABEL_OPTIONAL
            if kind == TYPES.TYPE_MESSAGE:
                field.type_name = f".rivals.{of.rstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = (pool.FindMessageTypeByName(f"rivals.{name}") for name in ("Request1", "Request2"))
    return [message_factory.GetMessageClass(descriptor) for descriptor in found]


Request1, Request2 = message_classes()
# What a scrape adds to every series.
TARGET = (("instance", HOST), ("job", "node"))


def labels_of(one):
    return sorted((("__name__", one.name), *one.labels, *TARGET))


def series_of(labels):
    labels = dict(labels)
    name = labels.pop("__name__")
    for key, _ in TARGET:
        del labels[key]
    return name, tuple(sorted(labels.items()))


def encode_remote_write_1(series, batch):
    request = Request1()
    for index, one in enumerate(series):
        put = request.timeseries.add()
        for name, value in labels_of(one):
            put.labels.add(name=name, value=value)
        for at_ms, values in batch:
            put.samples.add(value=float(values[index]), timestamp=at_ms)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def decode_remote_write_1(_, body):
    request = Request1.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    for put in request.timeseries:
        name, labels = series_of((label.name, label.value) for label in put.labels)
        for sample in put.samples:
            yield name, labels, sample.timestamp, sample.value


def encode_remote_write_2(series, batch):
    request = Request2()
    symbols = {"": 0}
    for index, one in enumerate(series):
        put = request.timeseries.add()
        for word in (word for label in labels_of(one) for word in label):
            put.labels_refs.append(symbols.setdefault(word, len(symbols)))
        put.metadata.type = METADATA_COUNTER if one.is_counter else METADATA_GAUGE
        for at_ms, values in batch:
            put.samples.add(value=float(values[index]), timestamp=at_ms)
    request.symbols.extend(symbols)
    return bytes(cramjam.snappy.compress_raw(request.SerializeToString()))


def decode_remote_write_2(_, body):
    request = Request2.FromString(bytes(cramjam.snappy.decompress_raw(body)))
    for put in request.timeseries:
        words = [request.symbols[ref] for ref in put.labels_refs]
        name, labels = series_of(zip(words[::2], words[1::2]))
        for sample in put.samples:
            yield name, labels, sample.timestamp, sample.value


def otlp(series, batch):
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    host = resource.resource.attributes.add(key="host.name")
    host.value.string_value = HOST
    scope = resource.scope_metrics.add()
    scope.scope.name = "hostmetrics"
    metrics = {}
    for index, one in enumerate(series):
        metric = metrics.get(one.name)
        if metric is None:
            metric = metrics[one.name] = scope.metrics.add(name=one.name)
            if one.is_counter:
                metric.sum.aggregation_temporality = 2  # cumulative
                metric.sum.is_monotonic = True
        points = metric.sum.data_points if one.is_counter else metric.gauge.data_points
        for at_ms, values in batch:
            point = points.add(time_unix_nano=at_ms * 1_000_000)
            if one.is_counter:
                point.start_time_unix_nano = batch[0][0] // 86_400_000 * 86_400_000 * 1_000_000
            for key, value in one.labels:
                point.attributes.add(key=key).value.string_value = value
            if one.is_whole:
                point.as_int = int(values[index])
            else:
                point.as_double = float(values[index])
    return request.SerializeToString()


def otlp_samples(message):
    request = ExportMetricsServiceRequest.FromString(message)
    for metric in request.resource_metrics[0].scope_metrics[0].metrics:
        kind = getattr(metric, metric.WhichOneof("data"))
        for point in kind.data_points:
            labels = tuple((one.key, one.value.string_value) for one in point.attributes)
            value = getattr(point, point.WhichOneof("value"))
            yield metric.name, labels, point.time_unix_nano // 1_000_000, float(value)


def encode_otlp_gzip(series, batch):
    return gzip.compress(otlp(series, batch), 6, mtime=0)


def decode_otlp_gzip(_, body):
    return otlp_samples(gzip.decompress(body))


def encode_otlp_zstd(series, batch):
    return bytes(cramjam.zstd.compress(otlp(series, batch), 3))


def decode_otlp_zstd(_, body):
    return otlp_samples(bytes(cramjam.zstd.decompress(body)))


def encode_influx(series, batch):
    """Line protocol, as Telegraf writes it: `measurement,tags fields timestamp`."""
    lines = []
    for at_ms, values in batch:
        fields = defaultdict(list)
        for one, text in zip(series, values):
            measurement, field = measurement_of(one.name)
            fields[measurement, one.labels].append(f"{field}={text}{'i' if one.is_whole else ''}")
        for (measurement, labels), put in fields.items():
            tags = ",".join([measurement, *(f"{key}={value}" for key, value in labels), f"host={HOST}"])
            lines.append(f"{tags} {','.join(put)} {at_ms}000000\n")
    return gzip.compress("".join(lines).encode(), 6, mtime=0)


def measurement_of(name):
    """`node_disk_io_now` is the field `io_now` of the measurement `node_disk`."""
    words = name.split("_", 2)
    return ("_".join(words[:2]), words[2]) if len(words) > 2 else (name, "value")


def decode_influx(_, body):
    for line in gzip.decompress(body).decode().splitlines():
        tags, fields, at_ns = line.rsplit(" ", 2)
        measurement, *labels = tags.split(",")
        labels = tuple(tuple(label.split("=", 1)) for label in labels[:-1])
        for field in fields.split(","):
            name, text = field.split("=")
            name = measurement if name == "value" else f"{measurement}_{name}"
            yield name, labels, int(at_ns) // 1_000_000, float(text.removesuffix("i"))


ITEM_FIRST = 20_000
# `ZBXD`, flags for a packed body, the length packed and not.
ZABBIX_HEADER_BYTES = 13


def encode_zabbix(series, batch):
    """The active agent's message: an item is a number that the server gave it."""
    data = [
        {
            "id": tick * len(series) + index,
            "itemid": ITEM_FIRST + index,
            "value": text,
            "clock": at_ms // 1000,
            "ns": at_ms % 1000 * 1_000_000,
        }
        for tick, (at_ms, values) in enumerate(batch)
        for index, text in enumerate(values)
    ]
    message = {"request": "agent data", "session": f"{batch[0][0]:032x}", "data": data, "version": "7.0", "host": HOST}
    packed = zlib.compress(json.dumps(message, separators=(",", ":")).encode(), 6)
    return b"ZBXD\x03".ljust(ZABBIX_HEADER_BYTES, b"\0") + packed


def decode_zabbix(series, body):
    for item in json.loads(zlib.decompress(body[ZABBIX_HEADER_BYTES:]))["data"]:
        one = series[item["itemid"] - ITEM_FIRST]
        yield one.name, one.labels, item["clock"] * 1000 + item["ns"] // 1_000_000, float(item["value"])
