#!/usr/bin/env bun
/**
 * 4.3 bare  Scan ports:  bun port-scan.ts [FIRST [LAST]]
 * The lesson ../port-scan.ts adds service names, banners, retries and flags.
 * On the wire: make wire L=4.3
 *
 * terminal 1
 *   $ bun scripts/tcp/bare/time-server.ts
 *   listening on 127.0.0.1:9999
 *   2026-11-20 17:04:30.293444 to 127.0.0.1:50001
 *   ^C
 * terminal 2
 *   $ bun scripts/apps/bare/port-scan.ts 9999
 *   127.0.0.1:9999  open
 *   1 open, 0 closed, 0 filtered
 */
import { once } from "node:events";
import { connect } from "node:net";
import process from "node:process";

const HOST = "127.0.0.1"; // scan only machines of your own
const FIRST = Number(process.argv[2] ?? 1);
const LAST = Number(process.argv[3] ?? process.argv[2] ?? 1024);

const count = { open: 0, closed: 0, filtered: 0 };
const ports = Array.from({ length: LAST - FIRST + 1 }, (_, index) => FIRST + index).values();
await Promise.all(Array.from({ length: 100 }, async () => { // 100 at once share the list
  for (const port of ports) {
    const state = await call(port);
    count[state]++;
    if (state === "open") console.log(`${HOST}:${port}  open`);
  }
}));
console.log(`${count.open} open, ${count.closed} closed, ${count.filtered} filtered`);

async function call(port: number): Promise<"open" | "closed" | "filtered"> {
  const socket = connect(port, HOST); //                     s.connect_ex((HOST, port))
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(1500) }); // s.settimeout(1.5)
    const isItself = socket.localPort === port; // it was given the very port that it calls
    return isItself ? "closed" : "open";
  } catch (error) {
    return (error as Error).name === "AbortError" ? "filtered" : "closed";
  } finally {
    socket.destroy(); //                                     s.close()
  }
}
