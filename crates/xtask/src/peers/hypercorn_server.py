"""An ASGI application on Python's Hypercorn, which serves WebSockets over HTTP/1.1 and HTTP/2. What it does on a connection is the
first part of its path:

    /echo                sends back every message
    /close/CODE/REASON   closes at once
    /flood/COUNT         sends so many messages of 64 KiB, and then echoes

    python hypercorn_server.py

It ends when its input does.
"""

import asyncio
import os
import socket
import sys
import threading
from urllib.parse import unquote

from hypercorn.asyncio import serve
from hypercorn.config import Config


async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    what, *rest = map(unquote, scope["path"][1:].split("/"))
    await send({"type": "websocket.accept", "headers": [(b"x-http-version", scope["http_version"].encode())]})
    if what == "close":
        await send({"type": "websocket.close", "code": int(rest[0]), "reason": rest[1]})
    elif what == "flood":
        for _ in range(int(rest[0])):
            await send({"type": "websocket.send", "bytes": bytes(65536)})
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            return
        if event["type"] == "websocket.receive":
            text, octets = event.get("text"), event.get("bytes")
            part = {"bytes": octets} if text is None else {"text": text}
            await send({"type": "websocket.send"} | part)


def end_with_input():
    sys.stdin.read()
    os._exit(0)


listener = socket.create_server(("127.0.0.1", 0))
config = Config()
config.bind = [f"fd://{listener.fileno()}"]
config.errorlog = None
host, port = listener.getsockname()
print(f"listening on {host}:{port}", flush=True)
threading.Thread(target=end_with_input, daemon=True).start()
asyncio.run(serve(app, config))
