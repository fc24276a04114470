/** Sin: leaves the shell's prompt behind its last line. */
import process from "node:process";
import { typed } from "./witness.ts";

for await (const line of typed()) process.stdout.write(`you said ${line}`);
