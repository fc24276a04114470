/** Sin: says something else before it says that it listens. */
import { listen } from "./witness.ts";

const [, port] = await listen();
console.log("starting");
console.log(`listening on 127.0.0.1:${port}`);
