/** A server that hears and says nothing; with the word `slow`, it answers after a tenth of a second. */
import { type AddressInfo, createServer } from "node:net";
import process from "node:process";

// allowHalfOpen: a client that closes its sending half is answered, or not answered, as any other.
const server = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on("error", () => {});
  socket.on("data", (data) => {
    console.log(`${socket.remoteAddress}:${socket.remotePort} > ${data}`);
    if (process.argv.includes("slow")) setTimeout(() => socket.write("late, but not too late"), 100);
  });
});
server.listen(0, "127.0.0.1", () => {
  console.log(`listening on 127.0.0.1:${(server.address() as AddressInfo).port}`);
});
