/** `make serve`: builds the site, and shows it at a local port. */
import { createReadStream, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import process from "node:process";
import { ROOT } from "../tests/engine/program.ts";
import { build } from "./build.ts";

const OUT = join(ROOT, "site", "out");
const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** A server of the files below a folder. */
export function fileServer(folder: string): Server {
  return createServer((request, response) => {
    let path = "";
    try {
      const { pathname } = new URL(request.url ?? "/", "http://localhost"); // "//" is none
      path = join(folder, normalize(decodeURIComponent(pathname))); // normalize: `..` cannot leave "/"
      if (statSync(path).isDirectory()) path = join(path, "index.html");
      statSync(path);
    } catch {
      response.writeHead(404, { "content-type": "text/plain" }).end("not found\n");
      return;
    }
    const type = TYPES[extname(path)] ?? "text/plain";
    response.writeHead(200, { "content-type": type, "cache-control": "no-cache" });
    createReadStream(path).pipe(response);
  });
}

function main(): void {
  console.log(`${build(OUT)} pages`);
  const server = fileServer(OUT);
  server.on("error", ({ message }) => {
    console.error(`error: ${message}`); // the port is taken, for example
    process.exitCode = 1;
  });
  server.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
    const { port } = server.address() as AddressInfo;
    console.log(`listening on http://127.0.0.1:${port}/ (Ctrl-C stops)`);
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => {
      server.close();
      server.closeAllConnections();
    });
  }
}

if (import.meta.main) main();
