/** Sin: leaves a process behind. */
import { leave } from "./witness.ts";

await leave({ stdio: "ignore" });
console.log("done");
