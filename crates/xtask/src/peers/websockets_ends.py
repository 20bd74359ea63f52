"""Connections on Python's `websockets`, all at once, and how each ends: its code, its reason, and whether it ended of its own.

    python websockets_ends.py '[{"url": "wss://localhost:1/", "close": [1000, "why"], "wait": 5}, ...]'

One with "close" is closed at once. Any other is closed with 1000 if it is still open after "wait" seconds. 1006 stands for a
connection that ended without a Close frame.
"""

import asyncio
import json
import signal
import sys

from websockets.asyncio.client import connect


async def end(url, close=None, wait=None):
    # Pings are the server's.
    connection = await connect(url, compression=None, proxy=None, ping_interval=None)
    alone = True
    if close:
        await connection.close(*close)
    else:
        try:
            await asyncio.wait_for(connection.wait_closed(), wait)
        except TimeoutError:
            alone = False
            await connection.close()
    return connection.close_code, connection.close_reason or "", alone


async def main(connections):
    ends = await asyncio.gather(*(end(**connection) for connection in json.loads(connections)))
    print(json.dumps(ends))


# Ends this program if it is not done within a minute.
signal.alarm(60)
asyncio.run(main(*sys.argv[1:]))
