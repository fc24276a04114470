// Old name, until its last users have moved.
export * from "./socket.ts";
