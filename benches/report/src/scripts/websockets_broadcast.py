"""A server on Python's `websockets` that sends what comes on /pub to all connections of /sub, with the library's `broadcast`.

    python websockets_broadcast.py [--compress shared]

It ends when its input does.
"""

import asyncio
import os
import sys
import threading

from websockets.asyncio.server import broadcast, serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

listeners = set()


async def handle(connection):
    if connection.request.path == "/pub":
        async for message in connection:
            broadcast(listeners, message)
        return
    listeners.add(connection)
    try:
        await connection.wait_closed()
    finally:
        listeners.remove(connection)


async def main():
    factory = ServerPerMessageDeflateFactory(
        server_no_context_takeover=True, client_no_context_takeover=True, compress_settings={"level": 1}
    )
    options = {
        "compression": None,
        "extensions": [factory] if sys.argv[-1] == "shared" else [],
        # No Pings: the other libraries have none.
        "ping_interval": None,
    }
    async with serve(handle, "127.0.0.1", 0, **options) as server:
        host, port = server.sockets[0].getsockname()
        print(f"listening on {host}:{port}", flush=True)
        threading.Thread(target=end_with_input, daemon=True).start()
        await asyncio.get_running_loop().create_future()


def end_with_input():
    sys.stdin.read()
    os._exit(0)


asyncio.run(main())
