/** Sin: says that it listens, and does not. */
import { listen, stay } from "./witness.ts";

const [server, port] = await listen();
server.close();
console.log(`listening on 127.0.0.1:${port}`);
stay();
