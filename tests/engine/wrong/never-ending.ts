/** Sin: answers, and never ends. */
import { stay, typed } from "./witness.ts";

for await (const line of typed()) {
  console.log(`you said ${line}`);
  break;
}
stay();
