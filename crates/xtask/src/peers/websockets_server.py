"""A server on Python's `websockets`. What it does on a connection is the first part of its path:

    /echo                sends back every message
    /fragments/COUNT     the same, each in so many frames
    /ping/DATA           sends a Ping with this data, and says so in a text when its Pong is there
    /close/CODE/REASON   closes at once; /close without a code: with 1000, as the library does
    /refuse              answers 503

    python websockets_server.py '{"server_no_context_takeover": true, ...}'      or false, for a server that does not compress
    python websockets_server.py false CHAIN KEY                                  with TLS, and the certificates and the key in these files

It speaks the subprotocol "two". It ends when its input does.
"""

import json
import os
import ssl
import sys
import threading
from urllib.parse import unquote

from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.sync.server import serve


def main(settings, *certificate):
    settings = json.loads(settings)
    extensions = [] if settings is False else [ServerPerMessageDeflateFactory(**settings)]
    options = {
        "compression": None,
        "extensions": extensions,
        "max_size": None,
        "process_request": check,
        "select_subprotocol": lambda connection, offered: "two" if "two" in offered else None,
    }
    if certificate:
        options["ssl"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        options["ssl"].load_cert_chain(*certificate)
    with serve(handle, "127.0.0.1", 0, **options) as server:
        host, port = server.socket.getsockname()
        print(f"listening on {host}:{port}", flush=True)
        threading.Thread(target=end_with_input, daemon=True).start()
        server.serve_forever()


def end_with_input():
    sys.stdin.read()
    os._exit(0)


def check(connection, request):
    if request.path == "/refuse":
        response = connection.respond(503, "come back later")
        response.headers["Retry-After"] = "120"
        return response


def handle(connection):
    what, *rest = map(unquote, connection.request.path[1:].split("/"))
    try:
        if what == "ping":
            connection.ping(rest[0]).wait(10)
            connection.send(f"pong {rest[0]}")
        elif what == "close":
            connection.close(*([int(rest[0]), rest[1]] if rest else []))
        fragments = int(rest[0]) if what == "fragments" else 1
        for message in connection:
            connection.send(message if fragments == 1 else split(message, fragments))
    except ConnectionClosed:
        pass


def split(message, fragments):
    parts = [len(message) * part // fragments for part in range(fragments + 1)]
    return [message[start:end] for start, end in zip(parts, parts[1:])]


main(*sys.argv[1:])
