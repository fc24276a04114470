/** Sin: prompts where no person types. */
import process from "node:process";
import { typed } from "./witness.ts";

process.stdout.write("> ");
for await (const line of typed()) process.stdout.write(`you said ${line}\n> `);
