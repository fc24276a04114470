/**
 * `make copy L=3.1 TO=DIR`, or `L=udp/send`: takes a lesson along. Copies its scripts, what they import and no more,
 * and a package.json with just the packages that they need, into a new or empty folder; then shows what to type there.
 */
import { readFileSync } from "node:fs";
import { copyFile, mkdir, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { Failure } from "../../lib/failure.ts";
import { print, run } from "../../lib/program.ts";
import { closure } from "../engine/closure.ts";
import { filesOfProject } from "../engine/engine.ts";
import type { Lesson } from "../engine/lessons.ts";
import { ROOT } from "../engine/program.ts";
import { choose } from "./choose.ts";
import { atHome } from "./settings.ts";

/** What a lesson takes along: its files, from the top of the project, and its npm packages. */
export type Luggage = { files: string[]; packages: string[]; packagesAtOnce: string[] };

/** What some lessons need: their scripts, those that their heads start, what all these import, and named files. */
export function luggage(lessons: Lesson[]): Luggage {
  const words = lessons.flatMap(({ head }) =>
    head.sections.flatMap(({ steps }) =>
      steps.flatMap((step) => {
        const line = step.kind === "run"
          ? step.command
          : step.kind === "key" || step.kind === "exit"
          ? ""
          : step.text;
        return line.split(/[\s"]+/);
      })
    )
  );
  const files = new Set(filesOfProject());
  const named = words.flatMap((word) => [word, `scripts/${word}`]).filter((name) => files.has(name));
  const scripts = new Set([
    ...lessons.map(({ path }) => path),
    ...named.filter((name) => name.endsWith(".ts")),
  ]);
  const closures = Array.from(scripts, (path) => closure(path));
  const sorted = (names: string[]) => [...new Set(names)].sort();
  return {
    files: sorted([...closures.flatMap(({ modules }) => modules), ...named]),
    packages: sorted(closures.flatMap(({ packages }) => packages)),
    packagesAtOnce: sorted(closures.flatMap(({ atOnce }) => atOnce.packages)),
  };
}

/**
 * Copies what some lessons need.
 * @throws Failure when the folder has something in it
 */
export async function copyLessons(lessons: Lesson[], folder: string): Promise<Luggage> {
  const needs = luggage(lessons);
  await mkdir(folder, { recursive: true });
  if ((await readdir(folder)).length > 0) {
    throw new Failure(folder, "has something in it; a new or empty folder is needed", "ENOTEMPTY");
  }
  for (const file of needs.files) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await copyFile(join(ROOT, file), join(folder, file));
  }
  const ours = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const dependencies = Object.fromEntries(needs.packages.map((name) => [name, ours.dependencies[name]]));
  const json = { private: true, type: "module", ...(needs.packages.length > 0 ? { dependencies } : {}) };
  await writeFile(join(folder, "package.json"), `${JSON.stringify(json, undefined, 2)}\n`);
  return needs;
}

async function main(): Promise<void> {
  const [name, to] = process.argv.slice(2).map(atHome);
  const usage = { hint: "make copy L=3.1 TO=../3.1", exitCode: 2 };
  if (!name) throw new Failure("L=", "says which lesson, and is needed", "EINVAL", usage);
  if (!to) throw new Failure("TO=", "says into which folder, and is needed", "EINVAL", usage);
  const lessons = choose(name);
  const { files, packages, packagesAtOnce } = await copyLessons(lessons, to);
  await print(`${to}: ${files.length} files and a package.json. To run them there:\n`);
  await print(`  cd ${/[^\w./-]/.test(to) ? `'${to.replaceAll("'", "'\\''")}'` : to}`);
  if (packages.length > 0) {
    const when = packagesAtOnce.length > 0
      ? ""
      : `   # only for what needs ${packages.join(" and ")}: --encoding gbk`;
    await print(`  bun install${when}`);
  }
  for (const { path, head } of lessons) {
    await print(`\n${head.number} ${head.title} (${path})`);
    for (const { terminal, steps } of head.sections) {
      const commands = steps.flatMap((step) => (step.kind === "run" ? `  $ ${step.command}` : []));
      if (commands.length > 0) await print([`terminal ${terminal}`, ...commands].join("\n"));
    }
  }
}

if (import.meta.main) run("client", main);
