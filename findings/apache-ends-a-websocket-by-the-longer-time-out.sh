#!/bin/sh
# Apache ends a silent WebSocket connection after the longer of two time-outs, not after the proxy's own.
#
# One is `Timeout`, which is for the client's side, the other `timeout=` of ProxyPass (or ProxyTimeout), for the
# server's. With `Timeout 300`, as Debian has it, a `timeout=` of a few seconds changes nothing for a connection that
# was upgraded. And a `Timeout` of two seconds does not end one that the proxy allows four.
#
# Seen with: Apache 2.4.71 (Debian 12), mod_proxy_http with upgrade=websocket: 4 s in both cases.
# Fails if: either connection ends much before or after 4 s.
# Needs: apache2, python3.
set -eu

python3 - <<'PYTHON'
import os
import re
import socket
import subprocess
import tempfile
import threading
import time

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
MODULES = ["mpm_event", "authz_core", "proxy", "proxy_http"]


def silent_server():
    """Upgrades whatever comes, and then says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    kept = []

    def accept():
        while True:
            connection, _ = listener.accept()
            kept.append(connection)
            connection.recv(65536)
            connection.sendall(HEAD)

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def lasts(server, timeout, of_proxy):
    """How long a connection lasts on which nothing is sent, in seconds."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        load = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in MODULES)
        with open(f"{folder}/settings", "w") as file:
            file.write(
                f"{load}ServerRoot {folder}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {folder}/pid\n"
                f"User www-data\nGroup www-data\nDefaultRuntimeDir {folder}\nErrorLog {folder}/errors\n"
                f"Timeout {timeout}\nProxyPass / http://127.0.0.1:{server}/ upgrade=websocket timeout={of_proxy}\n"
            )
        apache = subprocess.Popen(["apache2", "-X", "-f", f"{folder}/settings"])
        try:
            for _ in range(200):
                try:
                    client = socket.create_connection(("127.0.0.1", port))
                    break
                except ConnectionRefusedError:
                    time.sleep(0.05)
            client.settimeout(20)
            client.sendall(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            assert client.recv(65536).startswith(b"HTTP/1.1 101 ")
            begun = time.monotonic()
            assert client.recv(1) == b""
            return time.monotonic() - begun
        finally:
            apache.kill()
            apache.wait()


version = subprocess.run(["apache2", "-v"], capture_output=True, text=True, check=True).stdout
print(re.search(r"Apache/\S+", version).group())
server = silent_server()
for timeout, of_proxy in [(4, 2), (2, 4)]:
    seconds = lasts(server, timeout, of_proxy)
    print(f"Timeout {timeout}, timeout={of_proxy}: ended after {seconds:.1f} s")
    assert 3.5 < seconds < 6, seconds
PYTHON
