/** Sin: a server that ends on Ctrl-C with the exit code of a client. */
import process from "node:process";
import { listen } from "./witness.ts";

process.on("SIGINT", () => process.exit(130));
const [, port] = await listen();
console.log(`listening on 127.0.0.1:${port}`);
