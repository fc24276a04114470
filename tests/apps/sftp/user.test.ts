/** Lesson 4.5: who the user is, beside id(1). */
import { expect, test } from "bun:test";
import process from "node:process";
import { EVERYWHERE, RUNTIMES, start } from "../../engine/program.ts";

test.skipIf(process.platform === "win32").each(EVERYWHERE)(
  "on %s, the user has a name where the environment has none",
  async (runtime) => {
    const ask = `import("./scripts/apps/sftp/user.ts").then(({ userName }) => console.log(userName()))`;
    const words = runtime === "deno" ? ["deno", "eval"] : [...RUNTIMES[runtime], "-e"];
    const { stdout } = await start(["env", "-u", "USER", "-u", "LOGNAME", ...words, ask]).result();
    const id = await start(["id", "-un"]).result();
    expect(id.stdout).not.toBe("");
    expect(stdout).toBe(id.stdout);
  },
);
