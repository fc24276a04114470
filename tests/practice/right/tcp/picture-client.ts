#!/usr/bin/env bun
import fs from "node:fs";
import net from "node:net";
import process from "node:process";

const parts: Buffer[] = [];
net.createConnection(Number(process.argv[2] ?? 5566), "127.0.0.1")
  .on("data", (part: Buffer) => void parts.push(part))
  .on("end", () => {
    const { filename, filedata } = JSON.parse(Buffer.concat(parts).toString());
    const bytes = Buffer.from(filedata, "base64");
    if (!fs.existsSync("album")) fs.mkdirSync("album");
    fs.writeFile(`album/${filename.split("/").pop()}`, bytes, (error) => {
      if (error) throw error;
      console.log(`saved ${bytes.length} bytes as album/${filename.split("/").pop()}`);
    });
  });
