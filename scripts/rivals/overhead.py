"""What carries a body, estimated: headers of HTTP, records of TLS, segments of TCP.

An estimate in the rivals' favour: the connection of HTTP stays open, so neither a handshake nor its certificates are counted;
nothing is lost; nobody has to say who he is in a header. Counted are both directions, as whole packets of IP with a
longest packet of 1400 bytes.

| part | bytes | source |
|---|---|---|
| IPv4, TCP with timestamps | 20 + 32 a packet | RFC 791, 9293, 7323 |
| TLS 1.3 | 5 + 1 + 16 a record of at most 16 KiB | RFC 8446, section 5 |
| an acknowledgement | a packet of nothing for every second segment, the last one rides on the answer | RFC 9293, 3.8.6.3 |
"""

MTU = 1400
PACKET_BYTES = 52
SYN_BYTES = 60
RECORD_BYTES = 22
RECORD_BYTES_MAX = 16_384
# A handshake with a shared secret and a fresh key, without headers: draft-ietf-iotops-security-protocol-comparison.
PSK_HANDSHAKE_BYTES = 370


def kept_open(request_header, answer):
    """Of a request over HTTP on a connection that stays: a function of the body's length."""

    def overhead(body_bytes):
        header = request_header.replace("LENGTH", str(body_bytes)).encode()
        return one_way(len(header), body_bytes) + one_way(len(answer), 0) + PACKET_BYTES

    return overhead


def each_its_own(answer):
    """Of a message that opens a connection and closes it, with TLS and a shared secret, as the agent of Zabbix does."""

    def overhead(body_bytes):
        opening = 2 * SYN_BYTES + PACKET_BYTES
        handshake = PSK_HANDSHAKE_BYTES + 3 * (PACKET_BYTES + RECORD_BYTES)
        closing = 4 * PACKET_BYTES + 2 * (RECORD_BYTES + 2)
        return opening + handshake + one_way(0, body_bytes) + one_way(len(answer), 0) + closing

    return overhead


def one_way(header_bytes, body_bytes):
    """What is added to a body on its way, the header included."""
    message = header_bytes + body_bytes
    records = -(-message // RECORD_BYTES_MAX) * RECORD_BYTES
    segment_count = -(-(message + records) // (MTU - PACKET_BYTES))
    acks = (segment_count - 1) // 2 * PACKET_BYTES
    return header_bytes + records + segment_count * PACKET_BYTES + acks


def http(path, agent, content_type, encoding, *more):
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: hub.example.com",
        f"User-Agent: {agent}",
        "Content-Length: LENGTH",
        f"Content-Encoding: {encoding}",
        f"Content-Type: {content_type}",
        *more,
    ]
    return "\r\n".join(lines) + "\r\n\r\n"


DATE = "Date: Thu, 01 Jan 2026 00:00:00 GMT"
NO_CONTENT = f"HTTP/1.1 204 No Content\r\n{DATE}\r\n\r\n"
PROTOBUF = "application/x-protobuf"

REMOTE_WRITE_1 = kept_open(
    http("/api/v1/write", "Prometheus/3.0.0", PROTOBUF, "snappy", "X-Prometheus-Remote-Write-Version: 0.1.0"),
    NO_CONTENT,
)
REMOTE_WRITE_2 = kept_open(
    http(
        "/api/v1/write",
        "Prometheus/3.0.0",
        f"{PROTOBUF};proto=io.prometheus.write.v2.Request",
        "snappy",
        "X-Prometheus-Remote-Write-Version: 2.0.0",
    ),
    NO_CONTENT.replace("\r\n\r\n", "\r\nX-Prometheus-Remote-Write-Samples-Written: 149\r\n\r\n"),
)
OTLP_ANSWER = f"HTTP/1.1 200 OK\r\nContent-Type: {PROTOBUF}\r\n{DATE}\r\nContent-Length: 0\r\n\r\n"
OTLP_GZIP, OTLP_ZSTD = (
    kept_open(http("/v1/metrics", "OpenTelemetry Collector/0.120.0", PROTOBUF, encoding), OTLP_ANSWER)
    for encoding in ("gzip", "zstd")
)
INFLUX = kept_open(
    http("/api/v2/write?bucket=b&org=o", "Telegraf/1.33.0", "text/plain; charset=utf-8", "gzip"), NO_CONTENT
)
ZABBIX = each_its_own("ZBXD.........{\"response\":\"success\",\"info\":\"processed: 149; failed: 0; total: 149\"}")
