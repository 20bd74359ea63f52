// Connections on Node's `ws`, all at once, and how each ends: its code, its reason, and whether it ended of its own.
//
//     node ws_ends.cjs '[{"url": "wss://localhost:1/", "close": [1000, "why"], "wait": 5}, ...]'
//
// One with "close" is closed at once. Any other is closed with 1000 if it is still open after "wait" seconds. 1006 stands for a
// connection that ended without a Close frame.

"use strict";

const WebSocket = require("ws");

// Ends this program if it is not done within a minute.
setTimeout(() => process.exit(1), 60_000).unref();

function end({ url, close, wait }) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    let alone = true;
    socket.on("error", reject);
    socket.on("open", () => {
      if (close) {
        socket.close(...close);
      } else {
        const timer = setTimeout(() => {
          alone = false;
          socket.close(1000);
        }, wait * 1000);
        socket.on("close", () => clearTimeout(timer));
      }
    });
    socket.on("close", (code, reason) => resolve([code, reason.toString(), alone]));
  });
}

Promise.all(JSON.parse(process.argv[2]).map(end)).then(
  (ends) => console.log(JSON.stringify(ends)),
  (error) => {
    console.error(error.stack);
    process.exit(1);
  },
);
