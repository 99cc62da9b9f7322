/** lastseen verify: checks a log, also while a server runs over it, or a backup file. */
import type { Command } from 'commander';
import type { Database } from '../../engines/engine.ts';
import { openCheck } from '../../engines/open.ts';
import type { LogUnderCheck } from '../../engines/verify.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { addDatabaseOption } from '../io/options.ts';
import { createProgress } from '../io/progress.ts';
import { type DatabaseOptions, readDatabase } from '../io/settings.ts';
import { LogFault } from '../verify/fault.ts';
import { type Verified, verifyLog } from '../verify/verify.ts';

export function addVerify(program: Command): void {
  addDatabaseOption(
    program
      .command('verify')
      .description('check the log, also while a server runs, or a backup')
      .argument('[file]', 'backup to check; it is only read. Omitted: the database'),
  )
    .addHelpText(
      'after',
      `
The command reads the whole log once and names the first position that does not fit, with exit code 1. It keeps a SHA-256
of each sealed segment of 65,536 positions in the database, and the next check compares them.`,
    )
    .action(async (file: string | undefined, options: DatabaseOptions) => {
      const database: Database = file === undefined ? readDatabase(options) : { kind: 'sqlite', path: file };
      await verify(await openCheck(database, { isReadOnly: file !== undefined }));
    });
}

async function verify(log: LogUnderCheck): Promise<void> {
  const progress = createProgress('checked', systemRuntime.clock);
  try {
    const verified = await verifyLog(log, { ...systemRuntime, onProgress: progress.show });
    progress.end();
    await keepDigests(log, verified);
    process.stdout.write(`${summaryOf(verified)}\n`);
  } catch (error) {
    progress.end();
    if (!(error instanceof LogFault)) {
      throw error;
    }
    process.stderr.write(`lastseen: ${error.message}\n`);
    process.exitCode = 1;
  } finally {
    await log.close();
  }
}

/** A log that cannot be written, such as a standby, was checked all the same. */
async function keepDigests({ keep }: LogUnderCheck, { kept, gone }: Verified): Promise<void> {
  if (keep === undefined || kept.length + gone.length === 0) {
    return;
  }
  try {
    await keep(kept, gone);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    process.stderr.write(`the digests are not kept: ${reason}\n`);
  }
}

function summaryOf({ events, floor, head, compared, computed, renewed }: Verified): string {
  const range = events === 0 ? '' : ` from position ${floor} to ${head}`;
  const details = [
    `${compared} compared`,
    `${computed} new`,
    ...(renewed === 0 ? [] : [`${renewed} changed by retention`]),
  ];
  return `no fault: ${events} events${range}, digests of segments: ${details.join(', ')}`;
}
