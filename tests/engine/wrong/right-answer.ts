/** No sin: says "you said" and the line, to every line, until the end of input; then an error, and exit code 1. */
import process from "node:process";
import { typed } from "./witness.ts";

for await (const line of typed()) console.log(`you said ${line}`);
console.error("error: the input: has ended (END)");
process.exitCode = 1;
