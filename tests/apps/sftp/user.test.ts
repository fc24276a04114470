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

test.skipIf(process.getuid?.() !== 0 || !Bun.which("setpriv")).each(EVERYWHERE)(
  "on %s, a user whom the system does not know has a name, too (needs root and setpriv)",
  async (runtime) => {
    const ask = `import("./scripts/apps/sftp/user.ts").then(({ userName }) => console.log(userName()))`;
    const words = runtime === "deno" ? ["deno", "eval"] : [...RUNTIMES[runtime], "-e"];
    const as = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "env"];
    for (
      const [user, name] of [[["USER=anna"], "anna"], [["-u", "USER", "-u", "LOGNAME"], "unknown"]] as const
    ) {
      const { stdout, stderr } = await start([...as, ...user, ...words, ask], { env: { HOME: "/tmp" } })
        .result();
      expect([stderr, stdout]).toEqual(["", `${name}\n`]);
    }
  },
);
