/** Sin: answers, and takes no notice of the end of the input. */
import { stay, typed } from "./witness.ts";

for await (const line of typed()) console.log(`you said ${line}`);
stay();
