"""The peer: Envoy's own stubs (PyPI `xds-protos`), run as a process of their own.

Their wheel installs top-level packages (`google`, `opentelemetry`, `validate` …) that must not mix with ours. Reads one
JSON list of [direction, hex] from standard input, writes what the peer makes of each: for "request" and "response" the
message as JSON, for "make-…" the bytes of a message given as JSON.
"""

import json
import sys

from envoy.service.ext_proc.v3 import external_processor_pb2 as peer  # pyright: ignore
from google.protobuf import json_format

KINDS = {"request": peer.ProcessingRequest, "response": peer.ProcessingResponse}  # pyright: ignore


def main() -> None:
    answers: list[object] = []
    for direction, value in json.load(sys.stdin):
        if direction.startswith("make-"):
            message = json_format.ParseDict(value, KINDS[direction.removeprefix("make-")]())  # pyright: ignore
            answers.append(message.SerializeToString().hex())
        else:
            message = KINDS[direction].FromString(bytes.fromhex(value))  # pyright: ignore
            answers.append(json_format.MessageToDict(message, preserving_proto_field_name=True))
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
