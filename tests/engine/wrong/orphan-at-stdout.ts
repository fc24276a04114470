/** Sin: leaves a process behind that could still print. */
import { leave } from "./witness.ts";

await leave({ stdio: "inherit" });
console.log("done");
