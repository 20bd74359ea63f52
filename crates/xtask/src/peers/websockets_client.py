"""A client of the echo program on Python's `websockets`: sends the messages of a file one by one, and compares what comes back.

    python websockets_client.py URL FILE '[{"server_no_context_takeover": true, ...}, ...]'
"""

import json
import signal
import struct
import sys

from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.sync.client import connect


def main(url, file, settings):
    # Ends this program if it is not done within a minute.
    signal.alarm(60)
    offers = [ClientPerMessageDeflateFactory(**offer) for offer in json.loads(settings)]
    with open(file, "rb") as opened:
        messages = list(read(opened.read()))
    # No compression but these offers; no proxy that the environment names.
    with connect(url, extensions=offers, compression=None, max_size=None, proxy=None) as connection:
        for number, (fragments, message) in enumerate(messages):
            connection.send(message if fragments == 1 else split(message, fragments))
            if connection.recv() != message:
                sys.exit(f"message {number} did not come back as it was sent")
        connection.close(1000)
    if connection.close_code != 1000:
        sys.exit(f"closed with {connection.close_code}")


def read(octets):
    """Each message: 1 for a text or 2, the number of fragments, the length in 4 octets, the data."""
    at = 0
    while at < len(octets):
        kind, fragments, length = struct.unpack_from(">BBI", octets, at)
        start, at = at + 6, at + 6 + length
        data = octets[start:at]
        yield fragments, data.decode() if kind == 1 else data


def split(message, fragments):
    """A text is split between characters: here a fragment is a text, too."""
    parts = [len(message) * part // fragments for part in range(fragments + 1)]
    return [message[start:end] for start, end in zip(parts, parts[1:])]


main(*sys.argv[1:])
