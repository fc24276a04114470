/** What a file takes along: the modules that it imports, those that they import, and the npm packages. */
import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { isBuiltin } from "node:module";
import { ROOT } from "./program.ts";

export type Closure = {
  /** Paths from the top of the project, sorted; the file's own too. */
  modules: string[];
  /** Names of npm packages. */
  packages: string[];
  /** Those that are loaded when the program starts, not only where they are needed. */
  staticPackages: string[];
};

/** `import ... from "x"`, `export ... from "x"` and `import "x"`, as deno fmt writes them. */
const STATIC = /^(?:import|export) (?:[^;"()=]*? from )?"([^"]+)";$/gm;
/** `import("x")`, `require("x")`, and the file of a worker: `new URL("x", import.meta.url)`. */
const DYNAMIC = /\b(?:import|require)\("([^"]+)"\)|\bnew URL\("([^"]+)", import\.meta\.url\)/g;

/**
 * Reads a file, and all that it imports.
 * @param path from the top of the project
 * @throws Error for a module that is not there
 */
export function closure(path: string, root = ROOT): Closure {
  const modules = new Set<string>();
  const packages = new Set<string>();
  const staticPackages = new Set<string>();
  const visit = (file: string) => {
    if (modules.has(file)) return;
    modules.add(file);
    const source = readFileSync(join(root, file), "utf8");
    const found = (pattern: RegExp) => Array.from(source.matchAll(pattern), ([, a, b]) => a ?? b);
    const statics = found(STATIC);
    for (const name of [...statics, ...found(DYNAMIC)]) {
      if (isBuiltin(name) || /^bun\b/.test(name)) continue;
      if (name.startsWith(".")) visit(relative(root, join(root, dirname(file), name)).replaceAll("\\", "/"));
      else {
        const [first, second] = name.split("/");
        const packageName = first.startsWith("@") ? `${first}/${second}` : first;
        packages.add(packageName);
        if (statics.includes(name)) staticPackages.add(packageName);
      }
    }
  };
  visit(path);
  const sorted = (names: Set<string>) => Array.from(names).sort();
  return { modules: sorted(modules), packages: sorted(packages), staticPackages: sorted(staticPackages) };
}
