/** What was opened is closed again, in reverse: one stack for a start that fails and for an orderly stop. */

export interface Closers {
  /** `close` runs before those that were added earlier. */
  add(close: () => void | Promise<void>): void;
  /**
   * Closes everything, once: a second call waits for the first. A close that fails does not keep the others from running.
   * @throws the first failure, after all have run
   */
  closeAll(): Promise<void>;
}

export function createClosers(): Closers {
  const closers: (() => void | Promise<void>)[] = [];
  let closing: Promise<void> | undefined;

  async function run(): Promise<void> {
    const failures: unknown[] = [];
    for (let close = closers.pop(); close !== undefined; close = closers.pop()) {
      try {
        await close();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) {
      throw failures[0];
    }
  }

  return {
    add(close) {
      closers.push(close);
    },
    closeAll: () => (closing ??= run()),
  };
}
