/** The other processes over the same log: the port by which one of them can ask all of them. */
export interface Peers {
  /** Asks every live process, this one included; resolves with their answers once all have come, or after 3 s. */
  ask(): Promise<string[]>;
  /** How this process answers. */
  onAsk(answer: () => string): void;
}

/** A process that is alone. */
export function noPeers(): Peers {
  let answerNow: (() => string) | undefined;
  return {
    ask: () => Promise.resolve(answerNow === undefined ? [] : [answerNow()]),
    onAsk(answer) {
      answerNow = answer;
    },
  };
}
