/** Sin: clears the screen. */
import { typed } from "./witness.ts";

for await (const line of typed()) console.log(`\x1b[2Jyou said ${line}`);
