/** Sin: answers with something else. */
import { typed } from "./witness.ts";

for await (const line of typed()) console.log(`you typed ${line}`);
