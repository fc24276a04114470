/** Sin: reads, ends well, and answers nothing. */
import { typed } from "./witness.ts";

for await (const line of typed()) line.trim();
