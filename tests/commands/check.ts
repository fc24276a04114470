/** `make check`: what must hold before anything is run. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { $ } from "zx";
import { complaint, heavy, homeless, long, missingCalls, notBare, strangersInLib, unused } from "./house.ts";
import { withoutHole } from "../practice/exercise.ts";
import { READMES, render } from "./index.ts";
import { lessons } from "../engine/lessons.ts";
import { environment, ROOT } from "../engine/environment.ts";

const read = (file: string) => readFileSync(join(ROOT, file), "utf8");
const quiet = $({
  cwd: ROOT,
  env: environment(),
  quiet: true,
  nothrow: true,
  stdio: ["ignore", "pipe", "pipe"],
});

const FMT = "make fmt mends it\n";

/** What is checked; a check that finds something gives it as text. */
const CHECKS: Record<string, () => string | Promise<string>> = {
  "every lesson has a head that can be parsed": () => (lessons().length > 0 ? "" : "no lessons"),
  "each bare program is short, alone, and beside its lesson": () => notBare(lessons()).join("\n"),
  "each bare program makes an exercise": () => withoutHole().join("\n"),
  "the READMEs show the heads as they are": () =>
    READMES.filter((readme) => render(readme) !== read(readme.file))
      .map(({ file }) => `${file} is stale: make index`).join("\n"),
  "the Chinese README has the commands of the English one": () => {
    const [english, chinese] = READMES.map(({ file }) => commands(read(file)));
    return english === chinese ? "" : `README.md:\n${english}\n\nREADME.zh-CN.md:\n${chinese}`;
  },
  "lib/ holds what at least two chapters use, and reads in a sitting": () =>
    strangersInLib(lessons()).join("\n"),
  "each part is used by a lesson": () => unused(lessons()).join("\n"),
  "the calls that a head teaches stand in the code": () => missingCalls(lessons()).join("\n"),
  "the first lessons take little along": () => heavy(lessons()).join("\n"),
  "no function is longer than two screens": () => long().join("\n"),
  "each test file says which lesson it belongs to": () => homeless().join("\n"),
  "the types fit": async () => complaint(await quiet`tsc`),
  "the code is formatted": async () => complaint(await quiet`deno fmt --check`).replace(/^(?=.)/, FMT),
  "the linter finds nothing": async () => complaint(await quiet`deno lint`),
};

/** The commands of a README: its code blocks and its table of calls, without what is said about them. */
function commands(readme: string): string {
  const blocks = [...readme.matchAll(/^```(\w+)\n([^]*?)^```/gm)].map(([, kind, text]) =>
    kind === "sh" ? text.replace(/ +#.*$/gm, "") : text
  );
  const code = [...readme.matchAll(/`(?:make|bun|python3|pip|\$|export) [^`]*`/g)].map(([text]) => text);
  return [...blocks, ...code].join("\n");
}

let failed = 0;
for (const [name, check] of Object.entries(CHECKS)) {
  const found = await Promise.try(check).catch((error) => `${error.message || error}`);
  console.log(`${found ? "FAIL" : "ok  "} ${name}`);
  if (!found) continue;
  failed++;
  console.log(found.replace(/^/gm, "       "));
}
console.log(`\n${Object.keys(CHECKS).length - failed} passed, ${failed} failed, 0 skipped`);
if (failed > 0) process.exitCode = 1;
