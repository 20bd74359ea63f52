"""Clients on Python's `websockets` that send the echo program a message too large, one after the other: the close code of each, in a
line for each. 1006 stands for a connection that ended without a Close frame.

    python websockets_too_large.py URL COUNT OCTETS
"""

import asyncio
import signal
import sys

import websockets.asyncio.client
import websockets.sync.client
from websockets.exceptions import ConnectionClosed

# No compression; no proxy that the environment names.
OPTIONS = {"compression": None, "max_size": None, "proxy": None}


def main(url, count, octets):
    # Ends this program if it is not done within four minutes.
    signal.alarm(240)
    message = bytes(int(octets))
    for number in range(int(count)):
        code = in_threads(url, message) if number % 2 else asyncio.run(in_a_loop(url, message))
        print(code, flush=True)


def in_threads(url, message):
    with websockets.sync.client.connect(url, **OPTIONS) as connection:
        try:
            connection.send(message)
            connection.recv()
        except ConnectionClosed as closed:
            return code_of(closed)
    return "none"


async def in_a_loop(url, message):
    async with websockets.asyncio.client.connect(url, **OPTIONS) as connection:
        try:
            await connection.send(message)
            await connection.recv()
        except ConnectionClosed as closed:
            return code_of(closed)
    return "none"


def code_of(closed):
    return closed.rcvd.code if closed.rcvd else 1006


main(*sys.argv[1:])
