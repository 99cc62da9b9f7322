/** What a test process has made outside itself and must remove before it ends. `leaks.ts` checks it. */

/** Begins each line of standard error that names something that a file left. */
export const LEFT_BEHIND = 'left behind: ';

export interface Possession {
  /** Names the kind and the thing: `temporary directory /tmp/…`. */
  readonly name: string;
  isLeft(): boolean | Promise<boolean>;
}

const possessions = new Set<Possession>();

/** Returns a function to call when it was removed. */
export function own(possession: Possession): () => void {
  possessions.add(possession);
  return () => {
    possessions.delete(possession);
  };
}

/** The names of those that still exist. */
export async function namesLeft(): Promise<string[]> {
  const names: string[] = [];
  for (const possession of possessions) {
    if (await possession.isLeft()) {
      names.push(possession.name);
    }
  }
  return names;
}
