/** lastseen import */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Command, Option } from 'commander';
import { openTarget } from '../../engines/open.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { readArchive } from '../archive/reader.ts';
import { addDatabaseOption } from '../io/options.ts';
import { type DatabaseOptions, readDatabase } from '../io/settings.ts';

export function addImport(program: Command): void {
  addDatabaseOption(
    program
      .command('import')
      .description('fill an empty database from an archive, completely or not at all')
      .argument('[file]', 'archive that "lastseen export" wrote; "-" or omitted: standard input')
      // Earlier releases gave the log a new epoch without this option.
      .addOption(new Option('--keep-epoch').hideHelp()),
  )
    .addHelpText(
      'after',
      `
The import keeps positions, versions, payloads and the proof of the history. Clients continue with their cursors. The
server refuses the cursor of an event that was appended after the export, with ERR_CURSOR_DIVERGED.`,
    )
    .action(async (file: string | undefined, options: DatabaseOptions) => {
      await importLog(file === '-' ? undefined : file, options);
    });
}

async function importLog(file: string | undefined, options: DatabaseOptions): Promise<void> {
  const input = file === undefined ? process.stdin : createReadStream(file);
  const target = await openTarget(readDatabase(options), systemRuntime);
  try {
    const lines = createInterface({ input, crlfDelay: Infinity });
    const count = await readArchive(lines, target);
    process.stderr.write(`${count} events imported\n`);
  } finally {
    await target.close();
  }
}
