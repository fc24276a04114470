/** What a service says of itself. */
import type { Socket } from "node:net";
import { endpoint } from "../../../lib/socket.ts";
import { Decoder } from "../../../lib/text.ts";

/** How many bytes of a banner are shown. */
const LONGEST = 256;

/**
 * What a port says by itself or, when it is silent, to a question that web servers answer.
 * @param timeout for each of the two, in milliseconds
 * @returns what makes a text of it. Bytes that are none are reported then: not while a progress bar is on the screen
 */
export async function readBanner(socket: Socket, timeout: number): Promise<() => string> {
  const peer = endpoint(socket.remoteAddress ?? "", socket.remotePort); // a socket that was closed no longer knows
  let bytes = await receive(socket, timeout);
  if (bytes.length === 0 && socket.writable) {
    socket.write("HEAD / HTTP/1.0\r\n\r\n");
    bytes = await receive(socket, timeout);
  }
  return () => new Decoder("utf-8", false).decode(bytes, peer, { stream: true }).trimEnd();
}

/** Receives until a line ends, the peer closes or the time is up; no more than is shown. */
function receive(socket: Socket, timeout: number): Promise<Buffer> {
  return new Promise((resolve) => {
    let received = Buffer.alloc(0);
    const timer = setTimeout(done, timeout);
    socket.on("data", more).once("close", done);
    function more(data: Buffer) {
      received = Buffer.concat([received, data]);
      if (received.length >= LONGEST || data.at(-1) === 0x0a) done();
    }
    function done() {
      clearTimeout(timer);
      socket.off("data", more).off("close", done);
      resolve(received.subarray(0, LONGEST));
    }
  });
}
