"""Unpacks recorded GitHub traffic from the sdist of github3.py: one JSON file a cassette, bodies in plain text.

Usage: github.py SDIST FOLDER
"""

import base64
import gzip
import json
import pathlib
import sys
import tarfile

WANTED = ["Repository_tags", "Repository_compare_commits", "Repository_branch", "Branch_latest_sha", "Repository_create_ref"]
# What describes the connection that was recorded, and not the answer.
DROPPED = {"transfer-encoding", "content-encoding", "content-length", "connection", "status"}


def body(text):
    """The body of a recorded response."""
    if "base64_string" not in text:
        return text.get("string") or ""
    raw = base64.b64decode(text["base64_string"])
    return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()


def recording(interaction):
    """One request with its response."""
    request, response = interaction["request"], interaction["response"]
    headers = {name.lower(): value for name, value in response["headers"].items()}
    return {
        "method": request["method"],
        "url": request["uri"],
        "request_headers": {name.lower(): value for name, value in request["headers"].items()},
        "status": response["status"]["code"],
        "headers": {
            name: value[0] if isinstance(value, list) else value
            for name, value in headers.items()
            if name not in DROPPED
        },
        "body": body(response["body"]),
    }


def main():
    """Writes the wanted cassettes."""
    sdist, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(sdist) as archive:
        for member in archive.getmembers():
            path = pathlib.PurePosixPath(member.name)
            if path.parent.name == "cassettes" and path.stem in WANTED:
                cassette = json.load(archive.extractfile(member))
                recordings = [recording(interaction) for interaction in cassette["http_interactions"]]
                (folder / f"{path.stem}.json").write_text(json.dumps(recordings, indent=1))


main()
