/** The messages of a stream, for the protocols of chapter 4. */
import { Failure } from "../../lib/failure.ts";
import { type Framing, Unframer } from "../../lib/framing.ts";

/**
 * The messages of a whole stream, until its end.
 * @param chunks what each read brings
 * @param from whose stream it is, for the errors
 * @throws Failure EMSGSIZE for a message above the limit, EPROTO for an end inside a message
 */
export async function* unframe(chunks: AsyncIterable<Buffer>, framing: Framing, from: string) {
  const unframer = new Unframer(framing, from);
  for await (const chunk of chunks) yield* unframer.messages(chunk);
  if (unframer.pending) throw new Failure(from, "closed the connection inside a message", "EPROTO");
}
