/** Loaded before a script: its servers take 48 connections, whatever limit they set. */
import { Server } from "node:net";

Object.defineProperty(Server.prototype, "maxConnections", { get: () => 48, set: () => {} });
