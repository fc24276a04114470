// Old name, until its last user has moved.
export { resolve } from "./arguments.ts";
