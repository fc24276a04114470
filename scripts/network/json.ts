/** JSON for other programs. */
import { UNSEEN } from "../../lib/program.ts";

/** Writes a value as JSON (RFC 8259) in which the same characters are escaped: a program gets them, no terminal does. */
export function json(value: unknown): string {
  const hex = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(value, null, 2).replace(UNSEEN, (character) => {
    return character === "\n" ? "\n" : character.replace(/[^]/g, hex); // a line end stands between the values only
  });
}
