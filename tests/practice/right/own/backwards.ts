#!/usr/bin/env bun
import net, { type AddressInfo } from "node:net";
import process from "node:process";

const server = net.createServer(async (caller) => {
  const peer = `${caller.remoteAddress}:${caller.remotePort}`;
  let bytes = Buffer.alloc(0);
  for await (const part of caller) {
    bytes = Buffer.concat([bytes, part]);
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10)) {
      const line = bytes.subarray(0, end).toString();
      bytes = bytes.subarray(end + 1);
      console.log(`${peer} > ${line}`);
      let answer = "";
      for (const letter of line) answer = letter + answer;
      caller.write(answer + "\n");
    }
  }
});
server.listen(Number(process.argv[2]), "127.0.0.1", () => {
  console.log(`listening on 127.0.0.1:${(server.address() as AddressInfo).port}`);
});
