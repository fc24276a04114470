#!/usr/bin/env bun
import dgram, { type RemoteInfo } from "node:dgram";
import process from "node:process";

class EchoServer {
  private socket = dgram.createSocket("udp4");

  start(port: number) {
    this.socket.on("listening", () => console.log(`listening on 127.0.0.1:${this.socket.address().port}`));
    this.socket.on("message", this.answer.bind(this));
    this.socket.bind(port, "127.0.0.1");
  }

  private answer(message: Buffer, sender: RemoteInfo) {
    this.socket.send(message, 0, message.length, sender.port, sender.address);
    console.log(sender.address + ":" + sender.port + " > " + message.toString("utf8"));
  }
}

new EchoServer().start(Number(process.argv[2] || "8080"));
