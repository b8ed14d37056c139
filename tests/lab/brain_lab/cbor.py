"""CloudWatch's CBOR protocol for moto, which knows only JSON: translated on the way in and out. It knows no metric."""

import json
from io import BytesIO

import cbor2

PREFIX = "/service/GraniteServiceVersion20100801/operation/"
# JSON cannot tell 1 from 1.0 and has no times; SDKs' CBOR readers insist on both. These are CloudWatch's doubles.
DOUBLES = {"Values", "Average", "Sum", "SampleCount", "Minimum", "Maximum", "Threshold"}


def to_json(environ: dict, body: bytes) -> bytes:
    """Turns the request into the JSON one that means the same; returns its body."""
    asked = cbor2.loads(body) if body else {}
    content = json.dumps(asked, default=lambda moment: moment.timestamp()).encode()
    environ.update({
        "HTTP_X_AMZ_TARGET": "GraniteServiceVersion20100801." + environ["PATH_INFO"].removeprefix(PREFIX),
        "PATH_INFO": "/", "RAW_URI": "/", "REQUEST_URI": "/", "CONTENT_TYPE": "application/x-amz-json-1.0",
        "HTTP_CONTENT_TYPE": "application/x-amz-json-1.0", "CONTENT_LENGTH": str(len(content)),
        "HTTP_CONTENT_LENGTH": str(len(content)), "wsgi.input": BytesIO(content)})
    return content


def from_json(answer: tuple) -> tuple:
    status, _, content = answer
    whole = cbor2.dumps(typed(json.loads(content or b"{}")))
    return status, [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")], whole


def typed(value, name: str = ""):
    if isinstance(value, dict):
        return {k: typed(v, k) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [typed(v, name) for v in value]
    if isinstance(value, (int, float)) and name.endswith(("Timestamp", "Timestamps")):
        # A time is a double under tag 1, also where it is a whole second: SDKs read no other.
        return cbor2.CBORTag(1, float(value))
    return float(value) if isinstance(value, int) and name in DOUBLES else value
