/** Sin: answers, and complains beside it. */
import { typed } from "./witness.ts";

for await (const line of typed()) console.log(`you said ${line}`);
console.error("warning: this is old");
