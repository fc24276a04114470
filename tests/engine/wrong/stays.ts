/** The process that an orphan is: it listens, and stays. */
import process from "node:process";
import { listen } from "./witness.ts";

process.on("SIGINT", () => {});
await listen();
