/** The exercises that ask for a program of one's own: a text, the terminals of its head, and more that the judge plays. */
import type { Scene, Words } from "./exercise.ts";

export type Own = {
  number: string;
  name: string;
  title: Words;
  /** What was learned, in one sentence. */
  idea: Words;
  /** Five lines. */
  text: Words;
  /** Two; the third hint is the solution. */
  hints: Words[];
  /** What the head shows, and the judge plays first. */
  terminals: string;
  patience?: number;
  scenes: ({ terminals: string } & Omit<Scene, "sections">)[];
};

export const OWN: Own[] = [];
