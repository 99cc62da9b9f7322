/** A bound for what somebody else's code takes. */

/** @throws Error when it takes longer; it goes on, and nobody waits for it */
export async function within<T>(ms: number, work: T | Promise<T>): Promise<T> {
  if (typeof work !== 'object' || work === null || !('then' in work)) {
    return work;
  }
  let timer: NodeJS.Timeout | undefined;
  const tooLong = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`a device callback took longer than ${ms} ms`));
    }, ms);
  });
  try {
    return await Promise.race([work, tooLong]);
  } finally {
    clearTimeout(timer);
  }
}
