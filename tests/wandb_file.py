"""Reads a .wandb file without wandb's own reader, so that it can contradict it."""

import json
import struct


def records(path):
    """Records of an offline run: LevelDB log framing after a 7-byte header."""
    from wandb.proto import wandb_internal_pb2

    data = path.read_bytes()
    position, buffer = 7, b""
    while position + 7 <= len(data):
        left = 32768 - (position % 32768)
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        position += 7
        chunk = data[position : position + length]
        position += length
        if kind == 0 and length == 0:
            break
        if kind == 2:
            buffer = chunk
            continue
        if kind == 3:
            buffer += chunk
            continue
        record = wandb_internal_pb2.Record()
        record.ParseFromString(chunk if kind == 1 else buffer + chunk)
        yield record


def history(path):
    """Every logged row as a dict."""
    for record in records(path):
        if record.WhichOneof("record_type") == "history":
            yield {
                item.key or "/".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
