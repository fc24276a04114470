/** No sin: says from where it called, and what it heard. */
import { once } from "node:events";
import { connect } from "node:net";
import { port } from "./witness.ts";

const socket = connect(port(), "127.0.0.1");
await once(socket, "connect");
console.log(`called from 127.0.0.1:${socket.localPort}`);
for await (const chunk of socket) console.log(`${chunk}`);
