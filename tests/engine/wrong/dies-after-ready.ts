/** Sin: a server that ends at once. */
import process from "node:process";
import { listen } from "./witness.ts";

const [, port] = await listen();
console.log(`listening on 127.0.0.1:${port}`);
process.exit(0);
