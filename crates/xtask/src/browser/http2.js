// Runs in a page that came by HTTP/2: messages, close codes and many sockets. Promises the checks, as JSON.
async () => {
  const checks = [];
  const check = (what, seen, expected) =>
    checks.push({ what, holds: seen === expected, seen: `${seen} instead of ${expected}` });
  const base = `wss://${location.host}`;

  const within = (what, promise) =>
    Promise.race([
      promise,
      new Promise((_, reject) => setTimeout(() => reject(new Error(`waited in vain for ${what}`)), 20_000)),
    ]);
  const open = (path) =>
    within(path, new Promise((resolve, reject) => {
      const socket = new WebSocket(base + path);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => resolve(socket);
      socket.onerror = () => reject(new Error("no connection"));
    }));
  const echoed = (socket, message) =>
    within(`the echo of ${message.length} ${typeof message}`, new Promise((resolve, reject) => {
      socket.onmessage = ({ data }) => resolve(data);
      socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`));
      socket.send(message);
    }));
  const ended = (socket) =>
    within("an end", new Promise((resolve) => {
      socket.onclose = ({ code, reason, wasClean }) => resolve(`${code} ${reason} ${wasClean}`);
    }));
  const end = (socket, ...close) => {
    const closed = ended(socket);
    socket.close(...close);
    return closed;
  };

  const { nextHopProtocol } = performance.getEntriesByType("navigation")[0];
  check("the page came by HTTP/2", nextHopProtocol, "h2");
  const socket = await open("/echo");
  check("permessage-deflate was agreed on", socket.extensions.split(";")[0], "permessage-deflate");
  for (const size of [0, 1, 125, 126, 65535, 65536, 1 << 20, 8 << 20]) {
    const octets = new Uint8Array(size);
    // No more than this at a time.
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(octets.subarray(at, at + 65536));
    const back = new Uint8Array(await echoed(socket, octets));
    const same = back.length === size && back.every((octet, at) => octet === octets[at]);
    check(`${size} octets come back`, same, true);
    const text = "\u00e9".repeat(size / 2);
    check(`a text of as many comes back`, (await echoed(socket, text)) === text, true);
  }
  check("closed with 1000", await end(socket, 1000), "1000  true");
  check("closed with 3000", await end(await open("/echo"), 3000, "Gr\u00fc\u00dfe"), "3000 Gr\u00fc\u00dfe true");
  for (const code of [1000, 1001, 4999]) {
    const seen = await ended(await open(`/close/${code}`));
    check(`the server closes with ${code}`, seen, `${code} Gr\u00fc\u00dfe true`);
  }

  const unread = await open("/unread");
  // What does not get shorter.
  const noise = crypto.getRandomValues(new Uint8Array(65536));
  for (let count = 0; count < 64; count += 1) unread.send(noise);
  const sockets = await Promise.all(Array.from({ length: 20 }, () => open("/echo")));
  const texts = await Promise.all(sockets.map((socket, at) => echoed(socket, `${at}`)));
  check("twenty sockets beside one that is not read", texts.every((text, at) => text === `${at}`), true);
  check("which waits", unread.bufferedAmount > 0, true);
  const ends = await Promise.all(sockets.map((socket) => end(socket, 1000)));
  check("all twenty close with 1000", ends.every((seen) => seen === "1000  true"), true);
  return JSON.stringify(checks);
}
