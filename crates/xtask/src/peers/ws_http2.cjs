// WebSockets on Node's HTTP/2 (RFC 8441), all of them streams of one connection. Node speaks HTTP/2, and `ws` the frames.
//
//     node ws_http2.cjs http://ADDR:PORT
//
// The server sends back what arrives on /echo, closes with CODE on /close/CODE, and reads nothing on /unread. Prints a JSON
// object: what it has found out, by name.

"use strict";

const http2 = require("node:http2");
const { once } = require("node:events");
const WebSocket = require("ws");

// Ends this program if it is not done within a minute.
setTimeout(() => fail("not done within a minute"), 60_000).unref();

const TEXT = "über HTTP/2 🎉";
const BINARY = Buffer.from(Array.from({ length: 65536 }, (_, at) => (at * 7) % 251));

async function main(url) {
  const session = http2.connect(url);
  await once(session, "remoteSettings");
  const found = { enabled: session.remoteSettings.enableConnectProtocol };

  const echo = await open(session, "/echo");
  found.text = (await echoed(echo, TEXT)) === TEXT;
  found.binary = (await echoed(echo, BINARY)).equals(BINARY);
  found.pong = await pong(echo, "are you there?");
  found.closedHere = await end(echo, 3000, "Grüße");
  found.closedThere = [];
  for (const code of [1000, 1001, 3000, 4999]) {
    found.closedThere.push(await ended(await open(session, `/close/${code}`)));
  }

  const sockets = await Promise.all(Array.from({ length: 20 }, () => open(session, "/echo")));
  const texts = sockets.map((_, at) => `${at} of ${sockets.length}`);
  const back = await Promise.all(sockets.map((socket, at) => echoed(socket, texts[at])));
  found.twenty = back.every((text, at) => text === texts[at]);

  const unread = await open(session, "/unread");
  // More than the window of any stream; what has not left is in `bufferedAmount`.
  for (let count = 0; count < 64; count += 1) unread.send(BINARY);
  found.binaryBesideUnread = (await echoed(sockets[0], BINARY)).equals(BINARY);
  found.textBesideUnread = await Promise.all(sockets.map((socket, at) => echoed(socket, texts[at])));
  found.textBesideUnread = found.textBesideUnread.every((text, at) => text === texts[at]);
  // In octets: all but what fits into the window of a stream.
  found.waitsForUnread = unread.bufferedAmount + unread.stream.writableLength > 64 * 65536 - (1 << 20);

  found.twentyClosed = await Promise.all(sockets.map((socket) => end(socket, 1000, "")));
  found.twentyClosed = found.twentyClosed.every(([code]) => code === 1000);
  // The end of this program is that of the connection, too.
  process.stdout.write(`${JSON.stringify(found)}\n`, () => process.exit(0));
}

// Opens a stream, and hands it to `ws` as the client's end of a connection.
async function open(session, path) {
  const head = { ":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": path };
  head[":authority"] = new URL(process.argv[2]).host;
  const stream = session.request({ ...head, "sec-websocket-version": "13" }, { endStream: false });
  const [fields] = await once(stream, "response");
  if (fields[":status"] !== 200) throw new Error(`${path} was answered with ${fields[":status"]}`);
  // As its own server makes one, which then masks what it sends. Without a time it waits for no answer to a Close frame.
  const socket = new WebSocket(null, undefined, { autoPong: true, closeTimeout: 10_000 });
  socket._isServer = false;
  socket.stream = stream;
  socket.setSocket(stream, Buffer.alloc(0), { allowSynchronousEvents: true, maxPayload: 0, skipUTF8Validation: false });
  socket.on("error", (error) => fail(error.stack));
  return socket;
}

async function echoed(socket, message) {
  socket.send(message);
  const [data, binary] = await once(socket, "message");
  return binary ? data : data.toString();
}

async function pong(socket, data) {
  socket.ping(data);
  const [back] = await once(socket, "pong");
  return back.toString() === data;
}

function end(socket, code, reason) {
  socket.close(code, reason);
  return ended(socket);
}

async function ended(socket) {
  const [code, reason] = await once(socket, "close");
  return [code, reason.toString()];
}

function fail(reason) {
  console.error(reason);
  process.exit(1);
}

main(process.argv[2]).catch((error) => fail(error.stack));
