/** Sin: answers, and says one thing more. */
import { typed } from "./witness.ts";

for await (const line of typed()) console.log(`you said ${line}`);
console.log("bye");
