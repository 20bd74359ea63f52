// Clients on Node's `ws` that send the echo program a message too large, one after the other: the close code of each, in a line for
// each. 1006 stands for a connection that ended without a Close frame.
//
//     node ws_too_large.cjs URL COUNT OCTETS

'use strict';

const WebSocket = require('ws');

const [url, count, octets] = process.argv.slice(2);
const message = Buffer.alloc(Number(octets));

// Ends this program if it is not done within four minutes.
setTimeout(() => process.exit(1), 240_000).unref();

function tooLarge() {
  return new Promise((resolve) => {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    socket.on('open', () => socket.send(message));
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', resolve);
  });
}

(async () => {
  for (let number = 0; number < Number(count); number += 1) {
    console.log(await tooLarge());
  }
})();
