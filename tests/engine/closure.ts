/** What a file takes along: the modules that it imports, those that they import, and the npm packages. */
import { readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { join } from "node:path";
import { ROOT } from "./program.ts";

/** Modules are paths from the top of the project, packages are names; all are sorted. */
export type Closure = {
  /** All that may be loaded, the file itself too. */
  modules: string[];
  packages: string[];
  /** What is loaded when the program starts, not only when it is needed. */
  atOnce: { modules: string[]; packages: string[] };
};

/** `import ... from "x"`, `export ... from "x"` and `import "x"`, as deno fmt writes them. */
const STATIC = /^(?:import|export) (?:[^;"()=]*? from )?"([^"]+)";$/gm;
/** `import("x")`, `require("x")`, `createRequire(...)("x")`, and the file of a worker: `new URL("x", import.meta.url)`. */
const DYNAMIC = [
  /\b(?:import|require|createRequire\(import\.meta\.url\))\("([^"]+)"\)/g,
  /\bnew URL\("([^"]+)", import\.meta\.url\)/g,
];

/**
 * Reads a file, and all that it imports.
 * @param path from the top of the project
 * @throws Error for a module that is not there
 */
export function closure(path: string): Closure {
  const follow = (patterns: RegExp[]) => {
    const modules = new Set<string>();
    const packages = new Set<string>();
    const visit = (file: string) => {
      if (modules.has(file)) return;
      modules.add(file);
      const source = readFileSync(join(ROOT, file), "utf8");
      const names = patterns.flatMap((pattern) => Array.from(source.matchAll(pattern), ([, name]) => name));
      for (const name of names) {
        if (name.startsWith(".")) visit(join(file, "..", name).replaceAll("\\", "/"));
        else if (!isBuiltin(name) && !/^bun\b/.test(name)) {
          packages.add(/^(?:@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? name);
        }
      }
    };
    visit(path);
    return { modules: Array.from(modules).sort(), packages: Array.from(packages).sort() };
  };
  return { ...follow([STATIC, ...DYNAMIC]), atOnce: follow([STATIC]) };
}
