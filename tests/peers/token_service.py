"""The token service of a registry, as the Distribution token specification has it: 401, a token, and then in.

Usage: token_service.py FOLDER USER PASSWORD

Writes FOLDER/certificate.pem, serves on a free port of 127.0.0.1, and then writes the port to FOLDER/port.
"""

import base64
import datetime
import http.server
import json
import pathlib
import sys
import time
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

LIFE = 60
KEY = ec.generate_private_key(ec.SECP256R1())


def certificate():
    """A certificate of the key, signed by itself."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "token service")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(now - day).not_valid_after(now + day)
    return builder.sign(KEY, hashes.SHA256())


def encode(data):
    """Base64 as JSON web tokens write it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(chain, service, scopes):
    """A signed token that grants these scopes."""
    access = []
    for scope in scopes:
        kind, name, actions = scope.split(":")
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    now = int(time.time())
    header = {"typ": "JWT", "alg": "ES256", "x5c": [chain]}
    claims = {"iss": "tests", "sub": "me", "aud": service, "exp": now + LIFE, "nbf": now - 5, "iat": now, "jti": "1"}
    signed = encode(json.dumps(header).encode()) + "." + encode(json.dumps(claims | {"access": access}).encode())
    r, s = utils.decode_dss_signature(KEY.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return signed + "." + encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def main():
    """Serves until it is ended."""
    folder, user, password = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    made = certificate()
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    chain = base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()
    expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        """Answers requests for tokens."""

        def do_GET(self):
            """A token for who has the password."""
            if self.headers.get("Authorization") != expected:
                self.send_error(401)
                return
            query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
            body = json.dumps({"token": token(chain, query["service"][0], query.get("scope", [])), "expires_in": LIFE})
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready = folder / "port.new"
    ready.write_text(str(server.server_address[1]))
    ready.rename(folder / "port")
    server.serve_forever()


main()
