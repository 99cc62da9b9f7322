/** Closes resources in reverse order of opening, both when a start fails and when the service stops. */

/** A stack of resources to close. */
export interface Closers {
  /** Registers `close`. It runs before the closers that were added earlier. */
  add(close: () => void | Promise<void>): void;
  /**
   * Runs each closer once. A second call waits for the first. A closer that fails does not prevent the others
   * from running.
   * @throws the first failure, after all closers have run
   */
  closeAll(): Promise<void>;
}

/** Creates an empty stack. */
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
