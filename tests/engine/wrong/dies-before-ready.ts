/** Sin: does not live until it listens. */
import process from "node:process";
import "./witness.ts";

console.error("something is broken");
process.exit(3);
