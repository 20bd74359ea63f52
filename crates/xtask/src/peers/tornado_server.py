"""A server on Python's `tornado` that compresses, and sends back every message on /echo.

    python tornado_server.py

It ends when its input does.
"""

import asyncio
import os
import sys
import threading

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler


class Echo(WebSocketHandler):
    def get_compression_options(self):
        return {}

    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))


def end_with_input():
    sys.stdin.read()
    os._exit(0)


async def main():
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(Application([("/echo", Echo)])).add_sockets(sockets)
    host, port = sockets[0].getsockname()
    print(f"listening on {host}:{port}", flush=True)
    threading.Thread(target=end_with_input, daemon=True).start()
    await asyncio.Event().wait()


asyncio.run(main())
