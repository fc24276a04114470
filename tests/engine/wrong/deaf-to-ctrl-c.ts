/** Sin: a server that Ctrl-C does not end. */
import process from "node:process";
import { listen } from "./witness.ts";

process.on("SIGINT", () => {});
const [, port] = await listen();
console.log(`listening on 127.0.0.1:${port}`);
