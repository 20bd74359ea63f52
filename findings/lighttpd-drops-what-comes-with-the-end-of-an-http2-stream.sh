#!/bin/sh
# lighttpd drops what a WebSocket client sends over HTTP/2 together with the end of its stream: Chromium's Close frame.
#
# Chromium ends its side of the stream (END_STREAM) with its Close frame. RFC 8441 maps that to the end of one direction
# of TCP, so the Close frame should arrive, and the answer come back. lighttpd resets the stream at once and forwards
# neither: the server sees TCP end without a Close frame, and the page gets 1006, whatever the code was. HTTP/2 is on
# by default. The same octets without END_STREAM arrive.
#
# Seen with: lighttpd 1.4.69 (Debian 12), h2 4.3.0 as client; Chromium 156 sends END_STREAM (in its NetLog).
# Fails if: the frame arrives although it ends the stream, or does not although it does not end it.
# Needs: lighttpd with lighttpd-mod-openssl, openssl, python3 with venv.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install --disable-pip-version-check h2==4.3.0
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
  -keyout "$folder/key" -out "$folder/certificate" 2>"$folder/openssl"

"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RemoteSettingsChanged, ResponseReceived, StreamReset

folder = sys.argv[1]
# A Close frame with 3000, masked with zeros; and the answer, which is not masked.
CLOSE, ANSWER = b"\x88\x82\0\0\0\0\x0b\xb8", b"\x88\x02\x0b\xb8"


def server(arrived):
    """Upgrades whatever comes, tells what arrives then, and answers a Close frame."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            connection, _ = listener.accept()
            connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
            )
            octets = connection.recv(65536)
            arrived.put(octets)
            if octets:
                connection.sendall(ANSWER)
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def close_over_http2(port, end_stream):
    """Sends a Close frame on a WebSocket stream. Returns whether the stream was reset before an answer."""
    context = ssl.create_default_context(cafile=f"{folder}/certificate")
    context.set_alpn_protocols(["h2"])
    client = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
    client.settimeout(10)
    config = H2Configuration(validate_outbound_headers=False, validate_inbound_headers=False)
    http2 = H2Connection(config)
    http2.initiate_connection()
    stream = None
    while True:
        client.sendall(http2.data_to_send())
        received = client.recv(65536)
        assert received, "the connection has ended"
        for event in http2.receive_data(received):
            if isinstance(event, RemoteSettingsChanged) and stream is None:
                stream = http2.get_next_available_stream_id()
                head = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "https", ":path": "/"}
                head |= {":authority": f"localhost:{port}", "sec-websocket-version": "13"}
                http2.send_headers(stream, list(head.items()))
            elif isinstance(event, ResponseReceived):
                assert (b":status", b"200") in [(bytes(n), bytes(v)) for n, v in event.headers], event.headers
                http2.send_data(stream, CLOSE, end_stream=end_stream)
            elif isinstance(event, StreamReset):
                return True
            elif isinstance(event, DataReceived) and event.data:
                assert event.data == ANSWER, event.data
                return False


version = subprocess.run(["lighttpd", "-v"], capture_output=True, text=True, check=True).stdout
print(version.split()[0])
arrived = queue.Queue()
behind = server(arrived)
with socket.create_server(("127.0.0.1", 0)) as listener:
    port = listener.getsockname()[1]
with open(f"{folder}/settings", "w") as file:
    file.write(
        f"""server.modules = ("mod_openssl", "mod_proxy")
server.document-root = "{folder}"
server.bind = "127.0.0.1"
server.port = {port}
ssl.engine = "enable"
ssl.pemfile = "{folder}/certificate"
ssl.privkey = "{folder}/key"
proxy.server = ("" => (("host" => "127.0.0.1", "port" => {behind})))
proxy.header = ("upgrade" => "enable")
"""
    )
lighttpd = subprocess.Popen(["lighttpd", "-D", "-f", f"{folder}/settings"])
try:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    for end_stream, expected in [(False, (False, CLOSE)), (True, (True, b""))]:
        seen = (close_over_http2(port, end_stream), arrived.get(timeout=10))
        print(f"END_STREAM {end_stream}: reset {seen[0]}, the server got {seen[1]!r}")
        assert seen == expected, expected
finally:
    lighttpd.kill()
    lighttpd.wait()
PYTHON
