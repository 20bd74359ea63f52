// A server on Node's `ws`. What it does on a connection is the first part of its path:
//
//     /echo                sends back every message
//     /fragments/COUNT     the same, each in so many frames
//     /ping/DATA           sends a Ping with this data, and says so in a text when its Pong is there
//     /close/CODE/REASON   closes at once; /close without a code
//     /refuse              answers 503
//
//     node ws_server.cjs '{"serverNoContextTakeover": true, ...}'      or false, for a server that does not compress
//     node ws_server.cjs false CHAIN KEY                               with TLS, and the certificates and the key in these files
//
// It speaks the subprotocol "two". It ends when its input does.

"use strict";

const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { WebSocketServer } = require("ws");

const settings = JSON.parse(process.argv[2]);
const [cert, key] = process.argv.slice(3).map((file) => fs.readFileSync(file));
const listener = cert ? https.createServer({ cert, key }) : http.createServer();
const server = new WebSocketServer({
  server: listener,
  maxPayload: 0,
  perMessageDeflate: settings && { ...settings, threshold: 0 },
  handleProtocols: (offered) => offered.has("two") && "two",
  verifyClient: ({ req }, done) => {
    const refused = req.url === "/refuse";
    done(!refused, 503, "come back later", { "Retry-After": "120" });
  },
});
listener.listen(0, "127.0.0.1", () => console.log(`listening on 127.0.0.1:${listener.address().port}`));
process.stdin.on("end", () => process.exit(0)).resume();

server.on("connection", (socket, request) => {
  const [what, ...rest] = request.url.slice(1).split("/").map(decodeURIComponent);
  socket.on("error", (error) => console.error(error.stack));
  socket.on("message", (data, binary) => {
    const fragments = what === "fragments" ? Number(rest[0]) : 1;
    for (let at = 0; at < fragments; at += 1) {
      const [start, end] = [at, at + 1].map((part) => Math.floor((data.length * part) / fragments));
      socket.send(data.subarray(start, end), { binary, fin: at + 1 === fragments });
    }
  });
  if (what === "ping") {
    socket.on("pong", (data) => socket.send(`pong ${data}`));
    socket.ping(rest[0]);
  } else if (what === "close") {
    socket.close(...(rest.length > 0 ? [Number(rest[0]), rest[1]] : []));
  }
});
