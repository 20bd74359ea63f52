// A server on Node's `ws` that sends what comes on /pub to all connections of /sub, as the library's documentation has it.
//
//     node ws_broadcast.cjs [--compress shared]
//
// It ends when its input does.

"use strict";

const { WebSocketServer, WebSocket } = require("ws");

const shared = process.argv[process.argv.indexOf("--compress") + 1] === "shared";
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  perMessageDeflate: shared && {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    threshold: 0,
    zlibDeflateOptions: { level: 1 },
  },
});
server.on("listening", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
process.stdin.on("end", () => process.exit(0)).resume();

const listeners = new Set();

server.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  if (request.url !== "/pub") {
    listeners.add(socket);
    socket.on("close", () => listeners.delete(socket));
    return;
  }
  socket.on("message", (data, binary) => {
    for (const listener of listeners) {
      if (listener.readyState === WebSocket.OPEN) {
        listener.send(data, { binary });
      }
    }
  });
});
