/** Sin: begins the line, and never ends it. */
import process from "node:process";
import { stay, typed } from "./witness.ts";

for await (const line of typed()) process.stdout.write(`you said ${line}`);
stay();
