#!/usr/bin/env bun
import net, { type AddressInfo } from "node:net";
import process from "node:process";
import { Transform } from "node:stream";
import { StringDecoder } from "node:string_decoder";

const server = net.createServer((caller) => {
  const decoder = new StringDecoder("utf8");
  const peer = `${caller.remoteAddress}:${caller.remotePort}`;
  const loud = new Transform({
    transform(bytes, _, done) {
      const text = decoder.write(bytes);
      console.log(`${peer} > ${text}`);
      done(null, text.toUpperCase());
    },
  });
  caller.pipe(loud).pipe(caller);
});
server.listen(Number(process.argv[2]), "127.0.0.1");
server.on("listening", () => console.log(`listening on 127.0.0.1:${(server.address() as AddressInfo).port}`));
