"""A client of the echo program on Tornado, which keeps its compressor whatever it has agreed to: sends the messages of a file one by
one, and compares what comes back.

    python tornado_client.py URL FILE
"""

import asyncio
import signal
import struct
import sys

from tornado.websocket import websocket_connect


async def main(url, file):
    # Ends this program if it is not done within a minute.
    signal.alarm(60)
    with open(file, "rb") as opened:
        messages = list(read(opened.read()))
    connection = await websocket_connect(url, compression_options={})
    for number, message in enumerate(messages):
        await connection.write_message(message, binary=isinstance(message, bytes))
        if await connection.read_message() != message:
            sys.exit(f"message {number} did not come back as it was sent: {connection.close_code} {connection.close_reason}")
    connection.close(1000)
    await connection.read_message()
    if connection.close_code != 1000:
        sys.exit(f"closed with {connection.close_code}")


def read(octets):
    """Each message: 1 for a text or 2, the number of fragments, the length in 4 octets, the data."""
    at = 0
    while at < len(octets):
        kind, _, length = struct.unpack_from(">BBI", octets, at)
        start, at = at + 6, at + 6 + length
        data = octets[start:at]
        yield data.decode() if kind == 1 else data


asyncio.run(main(*sys.argv[1:]))
