/** Lessons 2.1 and 2.2: that one datagram found nobody costs no other datagram. */
import { expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type Runtime, script } from "../engine/program.ts";

async function open() {
  const socket = createSocket("udp4").bind(0, "127.0.0.1");
  await once(socket, "listening");
  return socket;
}

for (const runtime of ["bun", "node", "deno"] as Runtime[]) {
  test(`callers who are gone before the answer do not disturb the server on ${runtime}, nor others`, async () => {
    await using server = script("udp/echo-server", ["--port", "0"], { runtime });
    const port = await server.port();
    for (let i = 0; i < 100; i++) {
      const rude = await open();
      for (let n = 0; n < 20; n++) rude.send("x", port, "127.0.0.1");
      await new Promise((resolve) => setImmediate(resolve));
      rude.close();
      await new Promise((resolve) => setTimeout(resolve, 1)); // the answers find a closed port
    }
    const polite = await open();
    const answer = once(polite, "message");
    const again = setInterval(() => polite.send("你好", port, "127.0.0.1"), 100); // its queue may be full
    expect(`${(await answer)[0]}`).toBe("你好");
    clearInterval(again);
    polite.close();
    server.signal("SIGINT");
    const { code, stderr } = await server.result();
    expect(stderr).toBe("");
    expect(code).toBe(0);
  });
}
