/** The other processes over the same log: one of them can ask all of them, and each can show entries to all. */
export interface Peers {
  /** Asks every live process, this one included; resolves with their answers once all have come, or after 3 s. */
  ask(): Promise<string[]>;
  /** How this process answers. */
  onAsk(answer: () => string): void;
  /** Shows an entry of this process to the others, or takes it back (`undefined`). Keys are unique among all processes. */
  show(key: string, value: string | undefined): void;
  /** Told what others show, take back, or have shown when they died. One call holds changes of one moment. */
  onShown(listener: (changes: readonly ShownEntry[]) => void): void;
}

export interface ShownEntry {
  readonly key: string;
  /** `undefined`: it is gone. */
  readonly value: string | undefined;
}

/** A process that is alone. */
export function noPeers(): Peers {
  let answerNow: (() => string) | undefined;
  return {
    ask: () => Promise.resolve(answerNow === undefined ? [] : [answerNow()]),
    onAsk(answer) {
      answerNow = answer;
    },
    show: () => undefined,
    onShown: () => undefined,
  };
}
