/** What became of the echo requests of one ping, and its summary, as `ping` counts and writes it. */

export class RoundTrips {
  sent = 0;
  received = 0;
  duplicates = 0;
  errors = 0;
  #min = Infinity;
  #max = 0;
  #sum = 0;
  #sumOfSquares = 0;
  /** By sequence number, which has 16 bits and begins again at 0: when it was sent, in ms since 1970. */
  readonly #sentAt = new Float64Array(0x10000);
  /** Those that were sent and have no answer and no error yet, the oldest first, and since when they wait. */
  readonly #waiting = new Map<number, number>();
  readonly #isAnswered = new Uint8Array(0x10000);

  /** How many requests have neither an answer nor an error, and may still get one. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Notes a request. One that still waits under the same number gives it up.
   * @param at when it was sent, by the clock that marks the answers
   * @param since the same by a clock that nobody sets, for `late`
   */
  request(sequence: number, at: number, since: number): void {
    this.sent++;
    this.#sentAt[sequence] = at;
    this.#isAnswered[sequence] = 0;
    this.#waiting.delete(sequence); // it was the oldest
    this.#waiting.set(sequence, since);
  }

  /** Notes an answer, and gives its round-trip time in ms; undefined for one to no request of ours. */
  answer(sequence: number, at: number): { time: number; isDuplicate: boolean } | undefined {
    if (this.#sentAt[sequence] === 0) return undefined;
    const time = Math.max(0, at - this.#sentAt[sequence]);
    const isDuplicate = this.#isAnswered[sequence] === 1;
    this.#isAnswered[sequence] = 1;
    this.#waiting.delete(sequence);
    if (isDuplicate) this.duplicates++;
    else this.received++;
    this.#min = Math.min(this.#min, time);
    this.#max = Math.max(this.#max, time);
    this.#sum += time;
    this.#sumOfSquares += time * time;
    return { time, isDuplicate };
  }

  /** Notes that a request has failed. */
  error(sequence: number): void {
    this.errors++;
    this.#waiting.delete(sequence);
  }

  /** The requests that have waited too long; each is told once. A late answer still counts. */
  *late(before: number): Generator<number> {
    for (const [sequence, since] of this.#waiting) {
      if (since > before) return;
      this.#waiting.delete(sequence);
      yield sequence;
    }
  }

  /** @param elapsed from the first request to the last one, in ms */
  summary(host: string, elapsed: number): string {
    const { sent, received, duplicates, errors } = this;
    const lost = sent === 0 ? 0 : (sent - received) * 100 / sent;
    const counts = [
      `${sent} packets transmitted`,
      `${received} received`,
      ...(duplicates > 0 ? [`+${duplicates} duplicates`] : []),
      ...(errors > 0 ? [`+${errors} errors`] : []),
      `${Number(lost.toPrecision(6))}% packet loss`,
      `time ${Math.round(elapsed)}ms`,
    ];
    const lines = [`--- ${host} ping statistics ---`, counts.join(", ")];
    const answers = received + duplicates;
    if (answers > 0) {
      const average = this.#sum / answers;
      const deviation = Math.sqrt(Math.max(0, this.#sumOfSquares / answers - average * average));
      const times = [this.#min, average, this.#max, deviation].map((time) => time.toFixed(3)).join("/");
      lines.push(`rtt min/avg/max/mdev = ${times} ms`);
    }
    return lines.join("\n");
  }
}
