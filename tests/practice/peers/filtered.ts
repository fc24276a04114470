/**
 * A port that neither accepts nor refuses, as behind a firewall: the queue of its callers is full, and nobody takes
 * from it, so the system drops what else comes. For Node, which sets the length of the queue.
 */
import { writeSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import process from "node:process";

const server = createServer();
server.listen({ port: 0, host: "127.0.0.1", backlog: 1 }, () => {
  const { port } = server.address() as AddressInfo;
  for (let callers = 0; callers < 4; callers++) connect(port, "127.0.0.1").on("error", () => {});
  process.nextTick(() => { // now they have called; what would accept them comes after this tick, and never
    writeSync(1, `listening on 127.0.0.1:${port}\n`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  });
});
