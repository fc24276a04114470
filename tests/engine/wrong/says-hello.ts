/** No sin: says hello by UDP. */
import { createSocket } from "node:dgram";
import { port } from "./witness.ts";

const socket = createSocket("udp4");
socket.send("hello", port(), "127.0.0.1", () => socket.close());
