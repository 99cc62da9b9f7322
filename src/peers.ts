/** The other processes over the same log: each can ask all of them, and share entries with them. */
export interface Peers {
  /**
   * Asks every live process, this one included. Resolves when all have answered, or after 3 s with the answers that came
   * until then.
   */
  askAll(): Promise<string[]>;
  /** Sets how this process answers. */
  answerWith(createAnswer: () => string): void;
  /** Shares an entry of this process with the others, or withdraws it (`undefined`). Keys are unique among all processes. */
  share(key: string, value: string | undefined): void;
  /**
   * Calls the listener when others share or withdraw entries, or die: then all their entries are withdrawn. One call
   * holds the changes of one moment.
   */
  onShared(listener: (changes: readonly SharedEntry[]) => void): void;
}

export interface SharedEntry {
  readonly key: string;
  /** `undefined`: withdrawn. */
  readonly value: string | undefined;
}

/** The peers of a process that has none. */
export function noPeers(): Peers {
  let answer: (() => string) | undefined;
  return {
    askAll: () => Promise.resolve(answer === undefined ? [] : [answer()]),
    answerWith(createAnswer) {
      answer = createAnswer;
    },
    share: () => undefined,
    onShared: () => undefined,
  };
}
