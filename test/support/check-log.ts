/** Checks a log in this process as `lastseen verify` does, without keeping digests. */
import { LogFault } from '../../src/cli/verify/fault.ts';
import { type Verified, verifyLog } from '../../src/cli/verify/verify.ts';
import type { Database } from '../../src/engines/engine.ts';
import { openCheck } from '../../src/engines/open.ts';
import { systemRuntime } from '../../src/system-runtime.ts';

/** Returns what was found, or the message of the first fault. */
export async function checkLog(database: Database): Promise<Verified | string> {
  const log = await openCheck(database, { isReadOnly: true });
  try {
    return await verifyLog(log, { ...systemRuntime, onProgress: () => undefined });
  } catch (error) {
    if (error instanceof LogFault) {
      return error.message;
    }
    throw error;
  } finally {
    await log.close();
  }
}
