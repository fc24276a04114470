/** Sin: tells its data where errors belong. */
import { typed } from "./witness.ts";

for await (const line of typed()) console.error(`you said ${line}`);
