/** Sin: leaves a process behind that has a group and a session of its own. */
import { leave } from "./witness.ts";

await leave({ stdio: "ignore", detached: true });
console.log("done");
