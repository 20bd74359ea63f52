// A client of the echo program on Node's `ws`: sends the messages of a file, many at a time, and compares what comes back.
//
//     node ws_client.cjs URL FILE '[{"serverNoContextTakeover": true, ...}]'

"use strict";

const fs = require("node:fs");
const WebSocket = require("ws");

const [url, file, settings] = process.argv.slice(2);
const [offer] = JSON.parse(settings);
const messages = read(fs.readFileSync(file));

const socket = new WebSocket(url, { perMessageDeflate: { ...offer, threshold: 0 } });
let received = 0;
setTimeout(() => fail("not done within a minute"), 60_000).unref();

// How many octets may be on their way before the next message waits. What a server is sent all at once it does not compress
// to the end: the other connections have their turn.
const MOST_IN_FLIGHT = 64 << 10;
let sent = 0;
let inFlight = 0;

socket.on("open", sendSome);

function sendSome() {
  for (; sent < messages.length && inFlight < MOST_IN_FLIGHT; sent += 1) {
    const { text, fragments, data } = messages[sent];
    inFlight += data.length;
    for (let at = 0; at < fragments; at += 1) {
      const [start, end] = [at, at + 1].map((part) => Math.floor((data.length * part) / fragments));
      socket.send(data.subarray(start, end), { binary: !text, fin: at + 1 === fragments });
    }
  }
}

socket.on("message", (data, binary) => {
  const expected = messages[received];
  if (expected === undefined || binary === expected.text || !data.equals(expected.data)) {
    fail(`message ${received} did not come back as it was sent`);
  }
  received += 1;
  inFlight -= data.length;
  sendSome();
  if (received === messages.length) {
    socket.close(1000);
  }
});

socket.on("error", (error) => fail(error.stack));
socket.on("close", (code) => {
  if (code !== 1000 || received !== messages.length) {
    fail(`closed with ${code} after ${received} of ${messages.length} messages`);
  }
});

// Each message: 1 for a text or 2, the number of fragments, the length in 4 octets, the data.
function read(octets) {
  const all = [];
  for (let at = 0; at < octets.length; ) {
    const [text, fragments] = [octets[at] === 1, octets[at + 1]];
    const start = at + 6;
    at = start + octets.readUInt32BE(at + 2);
    all.push({ text, fragments, data: octets.subarray(start, at) });
  }
  return all;
}

function fail(reason) {
  console.error(reason);
  process.exit(1);
}
