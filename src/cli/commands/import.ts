/** lastseen import */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { openTarget } from '../../engines/open.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { readArchive } from '../archive/reader.ts';
import { addDatabaseOption } from '../io/options.ts';
import { type DatabaseOptions, readDatabase } from '../io/settings.ts';

interface ImportOptions extends DatabaseOptions {
  readonly keepEpoch?: boolean;
}

export function addImport(program: Command): void {
  addDatabaseOption(
    program
      .command('import')
      .description('fill an empty database from an archive, completely or not at all')
      .argument('[file]', 'archive that "lastseen export" wrote; "-" or omitted: standard input')
      .option('--keep-epoch', 'keep the epoch, so that clients continue with their cursors'),
  )
    .addHelpText(
      'after',
      `
The import keeps positions, versions and payloads. The log gets a new epoch, so that the server refuses the cursors of
clients: they may have seen events that were appended after the export. Use --keep-epoch only for a planned move: stop the
server, export, import, start the server on the new database.`,
    )
    .action(async (file: string | undefined, options: ImportOptions) => {
      await importLog(file === '-' ? undefined : file, options);
    });
}

async function importLog(file: string | undefined, options: ImportOptions): Promise<void> {
  const input = file === undefined ? process.stdin : createReadStream(file);
  const target = await openTarget(readDatabase(options), systemRuntime);
  try {
    const lines = createInterface({ input, crlfDelay: Infinity });
    const count = await readArchive(lines, target, { keepsEpoch: options.keepEpoch === true });
    process.stderr.write(`${count} events imported\n`);
  } finally {
    await target.close();
  }
}
