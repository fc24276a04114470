/** Holds sockets of every kind while a shell command looks at them: bun sockets.ts COMMAND */
import { spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import process from "node:process";

/** A server, and a connection to it by way of `host`. */
async function pair(bound: string, host: string): Promise<{ caller: Socket; accepted: Socket }> {
  const server = createServer({ allowHalfOpen: true }).listen({ host: bound, port: 0 });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const caller = connect({ host, port, allowHalfOpen: true });
  const [[accepted]] = await Promise.all([once(server, "connection"), once(caller, "connect")]);
  return { caller, accepted };
}

await pair("127.1.2.3", "127.1.2.3"); // LISTEN and ESTABLISHED
await pair("fd01:203:405:607:809:a0b:c0d:e0f", "fd01:203:405:607:809:a0b:c0d:e0f");
await pair("::", "127.0.0.1"); // IPv4-mapped
await pair("0.0.0.0", "127.0.0.1");

const half = await pair("::1", "::1"); // FIN_WAIT2 and CLOSE_WAIT
half.caller.end();
half.accepted.resume();
await once(half.accepted, "end");

const gone = await pair("127.0.0.1", "127.0.0.1"); // TIME_WAIT
gone.caller.resume().end();
gone.accepted.resume();
await once(gone.accepted, "end");
gone.accepted.end();
await Promise.all([once(gone.caller, "close"), once(gone.accepted, "close")]);

for (const host of ["127.1.2.3", "::1", "0.0.0.0", "::"]) { // UNCONN, and one that writes to one peer
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  socket.bind(0, host);
  await once(socket, "listening");
  const writer = createSocket(host.includes(":") ? "udp6" : "udp4");
  writer.connect(socket.address().port, host.includes(":") ? "::1" : "127.0.0.1");
  await once(writer, "connect");
}

process.exit(spawnSync("sh", ["-c", process.argv[2]], { stdio: "inherit" }).status ?? 1);
