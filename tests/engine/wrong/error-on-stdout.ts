/** Sin: tells its error where the data belongs. */
import process from "node:process";
import "./witness.ts";

console.log("error: the work: is too much (E2BIG)");
process.exitCode = 1;
