#!/usr/bin/env bun
import { connect } from "node:net";
import process from "node:process";
import { text } from "node:stream/consumers";

console.log(await text(connect(Number(process.argv[2] ?? 9999), "127.0.0.1")));
