/** Holds ports, in a network of its own, while a shell command looks at them: bun hold.ts COMMAND */
import { spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:net";
import process from "node:process";

for (const [index, host] of ["127.0.0.1", "0.0.0.0", "::1", "::"].entries()) {
  const server = createServer().listen({ host, port: 7001 + index });
  await once(server, "listening");
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  socket.bind(8001 + index, host);
  await once(socket, "listening");
}

process.exit(spawnSync("sh", ["-c", process.argv[2]], { stdio: "inherit" }).status ?? 1);
