// Runs in the page: what a person does, then messages of all sizes and close codes. Promises the checks, as JSON.
async () => {
  const checks = [];
  const check = (what, seen, expected) =>
    checks.push({ what, holds: seen === expected, seen: `${seen} instead of ${expected}` });
  const byId = (id) => document.getElementById(id);
  const until = async (holds) => {
    const begun = performance.now();
    while (!holds()) {
      if (performance.now() - begun > 10_000) throw new Error(`waited in vain for ${holds}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const lastRow = () => [...byId("commsLog").lastElementChild.cells].map((cell) => cell.textContent).join("|");

  const url = `wss://${location.host}/ws`;
  check("the page came over https", location.protocol, "https:");
  check("the page is a secure context", isSecureContext, true);
  check("the page offers wss", byId("connectionUrl").value, url);
  byId("connectButton").click();
  await until(() => byId("stateLabel").textContent === "Open");
  byId("sendMessage").value = "über TLS";
  byId("sendButton").click();
  await until(() => byId("commsLog").rows.length === 3);
  check("a message comes back", lastRow(), "Server|Client|über TLS");
  byId("closeButton").click();
  await until(() => byId("stateLabel").textContent === "Closed");
  check("the page closes the connection", lastRow(), "Connection closed. Code: 1000. Reason: Closing from client");

  const open = () =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      socket.binaryType = "arraybuffer";
      socket.onopen = () => resolve(socket);
      socket.onerror = () => reject(new Error("no connection"));
    });
  const echoed = (socket, message) =>
    new Promise((resolve, reject) => {
      socket.onmessage = ({ data }) => resolve(data);
      socket.onclose = ({ code }) => reject(new Error(`closed with ${code}`));
      socket.send(message);
    });
  const socket = await open();
  for (const size of [0, 1, 125, 126, 65535, 65536, 1 << 20, 16 << 20]) {
    const octets = new Uint8Array(size);
    // No more than this at a time.
    for (let at = 0; at < size; at += 65536) crypto.getRandomValues(octets.subarray(at, at + 65536));
    const back = new Uint8Array(await echoed(socket, octets));
    const same = back.length === size && back.every((octet, at) => octet === octets[at]);
    check(`${size} octets come back`, same, true);
    const text = "é".repeat(size / 2);
    check(`a text of as many comes back`, (await echoed(socket, text)) === text, true);
  }
  const ended = (socket, ...close) =>
    new Promise((resolve) => {
      socket.onclose = ({ code, reason, wasClean }) => resolve(`${code} ${reason} ${wasClean}`);
      socket.close(...close);
    });
  check("closed with 1000", await ended(socket, 1000), "1000  true");
  check("closed with 3000", await ended(await open(), 3000, "Grüße"), "3000 Grüße true");
  check("closed with 4999", await ended(await open(), 4999, "🎉"), "4999 🎉 true");
  return JSON.stringify(checks);
}
