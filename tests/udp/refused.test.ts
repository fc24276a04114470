/** Lessons 2.1 and 2.2: a datagram that found nobody costs no other one, and one of a stranger is no answer. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { EVERYWHERE, script } from "../engine/program.ts";
import { freePort, letterbox } from "../engine/sockets.ts";

setDefaultTimeout(60_000); // what hangs is told by program.ts, after 30 s

async function open(port = 0) {
  const socket = createSocket("udp4").bind(port, "127.0.0.1");
  await once(socket, "listening");
  return socket;
}

for (const runtime of EVERYWHERE) {
  test(`callers who are gone before the answer do not disturb the server on ${runtime}, nor others`, async () => {
    await using server = script("udp/echo-server", ["--port", "0"], { runtime });
    const port = await server.port();
    const polite = await open(); // before the others, whose ports may be given again
    for (let i = 0; i < 100; i++) {
      const rude = await open(await freePort("udp")); // no other test gets its port, and the answers
      for (let n = 0; n < 20; n++) rude.send("x", port, "127.0.0.1");
      await new Promise((resolve) => setImmediate(resolve));
      rude.close();
      await new Promise((resolve) => setTimeout(resolve, 1)); // the answers find a closed port
    }
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

for (const runtime of EVERYWHERE) {
  test(`a datagram from another port than the server's is no answer, on ${runtime}`, async () => {
    await using server = await letterbox();
    await using stranger = await letterbox();
    const words = ["--port", `${server.port}`, "--timeout", "10000"];
    await using client = script("udp/echo-client", words, { runtime });
    client.type("hello\n");
    const [, { port }] = await server.next();
    await stranger.send("from a stranger", port);
    await server.send("the answer", port);
    expect(await client.next()).toBe("the answer");
    client.endOfInput();
    expect(await client.result()).toEqual({ code: 0, stdout: "the answer\n", stderr: "" });
  });
}
