/** Lesson 3.4 (thorough): a server that answers and closes, and callers that call again and again. */
import { expect, test } from "bun:test";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { temporaryFolder } from "../engine/files.ts";
import { EVERYWHERE, loaded, start } from "../engine/program.ts";

const SOURCE = fileURLToPath(new URL("../bench/callers.c", import.meta.url));
const GCC = Bun.which("gcc") && process.platform === "linux";

for (const runtime of EVERYWHERE) {
  test.skipIf(!GCC)(
    `16 callers that call again at once never count as 48, on ${runtime} (needs gcc, Linux)`,
    async () => {
      await using folder = temporaryFolder();
      const callers = folder.at("callers");
      expect(await start(["gcc", "-O2", "-o", callers, SOURCE]).result()).toMatchObject({ code: 0 });
      await using server = start(loaded("few-connections", "tcp/time-server", ["--port", "0"], runtime));
      const port = `${await server.port()}`;
      const { code, stderr } = await start([callers, port, "16", "5000"], { limit: 200_000 }).result();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    },
    240_000,
  );
}
