/** lastseen export: writes the whole log as an archive, or a range of it as NDJSON, CSV or Parquet. */
import { existsSync, realpathSync } from 'node:fs';
import { constants } from 'node:os';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { LogSource } from '../../engines/archive.ts';
import { openSource } from '../../engines/open.ts';
import { LastseenError } from '../../errors.ts';
import { nextTurn } from '../../runtime.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { writeArchive } from '../archive/writer.ts';
import { createCsvEncoder, createNdjsonEncoder, type EventEncoder } from '../export/format.ts';
import { openRange, type RangeOptions, resolveRange } from '../export/range.ts';
import { addDatabaseOption } from '../io/options.ts';
import { openOutput, type Output } from '../io/output.ts';
import { createProgress } from '../io/progress.ts';
import { type DatabaseOptions, readDatabase } from '../io/settings.ts';

interface ExportOptions extends DatabaseOptions, RangeOptions {
  readonly format: Format;
  readonly force?: boolean;
}

const FORMATS = ['archive', 'ndjson', 'csv', 'parquet'] as const;

type Format = (typeof FORMATS)[number];

/** The command loads only the encoder of its format. */
const ENCODERS: Readonly<Record<Exclude<Format, 'archive'>, () => Promise<EventEncoder>>> = {
  ndjson: () => Promise.resolve(createNdjsonEncoder()),
  csv: () => Promise.resolve(createCsvEncoder()),
  parquet: async () => (await import('../export/parquet.ts')).createParquetEncoder(),
};

export function addExport(program: Command): void {
  addDatabaseOption(
    program
      .command('export')
      .description(
        'write the log to FILE or standard output: an archive for "lastseen import", or a range for other tools',
      )
      .argument('[file]', 'file to create; "-" or omitted: standard output'),
  )
    .addOption(
      new Option('--format <name>', 'format of the output; "lastseen import" reads archive')
        .choices(FORMATS)
        .default('archive'),
    )
    .addOption(
      new Option('--access-id <name>', 'only events of this access_id; repeat the option for more')
        .argParser(collect)
        .default([], 'every access_id'),
    )
    .addOption(
      new Option('--after <cursor>', 'start after a cursor, at "start" or at "now"; not with --since')
        .default(undefined, 'start')
        .conflicts('since'),
    )
    .addOption(
      new Option('--until <cursor>', 'end at a cursor, included; not with --before')
        .default(undefined, 'the end of the log')
        .conflicts('before'),
    )
    .option('--since <time>', 'start with the first event recorded at this time or later')
    .option('--before <time>', 'end before the first event recorded at this time or later')
    .option('--force', 'replace FILE if it exists')
    .addHelpText(
      'after',
      `
A server may be running. The export contains events only: no users and no tokens. FILE appears when it is complete.
At its end, the export of a range prints a cursor on standard error. Pass it to --after to continue. Ctrl-C ends the export
early and in the same way. An archive always contains the whole log: Ctrl-C leaves none.
A time is a day (UTC) such as 2026-01-31, or a time with its zone such as 2026-01-31T12:00:00Z.`,
    )
    .action(async (file: string | undefined, options: ExportOptions) => {
      await exportTo(file === '-' ? undefined : file, options);
    });
}

/** The output must not replace the log that it is made from. */
function refuseDatabaseFile(file: string, databasePath: string): void {
  const real = (path: string): string => (existsSync(path) ? realpathSync(path) : resolve(path));
  const own = ['', '-wal', '-shm', '-lock'].map((suffix) => real(databasePath) + suffix);
  if (own.includes(real(file))) {
    throw new LastseenError('ERR_REQUEST_INVALID', `${file} is the database itself: choose another file`);
  }
}

function collect(name: string, names: readonly string[]): string[] {
  return [...names, name];
}

async function exportTo(file: string | undefined, options: ExportOptions): Promise<void> {
  assertWholeArchive(options);
  const database = readDatabase(options);
  if (file !== undefined && database.kind === 'sqlite') {
    refuseDatabaseFile(file, database.path);
  }
  const source = await openSource(database, systemRuntime);
  const stop = new AbortController();
  let output: Output | undefined;
  let stopListening = (): void => undefined;
  try {
    output = await openOutput(file, { isForced: options.force === true });
    stopListening = onInterrupt(stop, output);
    const context = { source, output, stop: stop.signal };
    const summary = await (options.format === 'archive'
      ? exportArchive(context)
      : exportRange(context, options, await ENCODERS[options.format]()));
    process.stderr.write(summary);
  } catch (error) {
    output?.abandon();
    throw error;
  } finally {
    stopListening();
    await source.close();
  }
}

interface ExportContext {
  readonly source: LogSource;
  readonly output: Output;
  readonly stop: AbortSignal;
}

async function exportArchive({ source, output, stop }: ExportContext): Promise<string> {
  const count = await writeArchive(source, output, stop);
  if (count === undefined) {
    output.abandon();
    return 'interrupted: no archive was written\n';
  }
  await output.commit();
  return `${count} events exported\n`;
}

/** Returns the summary for the user, which is true only when the output is written completely. */
async function exportRange(
  { source, output, stop }: ExportContext,
  options: RangeOptions,
  encoder: EventEncoder,
): Promise<string> {
  const range = await resolveRange(source, options);
  const reader = await openRange(source, range);
  const progress = createProgress('exported', systemRuntime.clock);
  const positions = Math.max(1, range.through - range.after.position);
  let count = 0;
  let through = range.after.position;
  try {
    while (!stop.aborted) {
      const page = await reader.next();
      if (page === undefined) {
        break;
      }
      await write(encoder.encode(page.events));
      count += page.events.length;
      ({ through } = page);
      progress.show(count, (through - range.after.position) / positions);
      // Reads of SQLite are synchronous: this lets signals in.
      await nextTurn(systemRuntime.timers);
    }
  } finally {
    progress.end();
  }
  await write(encoder.end());
  await reader.confirm();
  await output.commit();
  const isWhole = through >= range.through;
  return [
    ...(reader.mayLack ? ['retention deleted events during the export: some may be missing\n'] : []),
    `${isWhole ? '' : 'interrupted: '}${count} events exported\n`,
    `continue with --after ${reader.cursor}\n`,
  ].join('');

  async function write(data: string | Uint8Array): Promise<void> {
    if (data.length > 0) {
      await output.write(data);
    }
  }
}

/** The first signal completes the output and ends the export, the second ends it at once. Returns how to stop listening. */
function onInterrupt(stop: AbortController, output: Output): () => void {
  const interrupt = (signal: NodeJS.Signals): void => {
    process.exitCode = 128 + constants.signals[signal];
    if (stop.signal.aborted) {
      output.abandon();
      process.exit();
    }
    stop.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, interrupt);
  }
  return () => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.off(signal, interrupt);
    }
  };
}

function assertWholeArchive({ format, accessId, after, until, since, before }: ExportOptions): void {
  const given = { '--after': after, '--until': until, '--since': since, '--before': before };
  const option =
    accessId.length > 0 ? '--access-id' : Object.entries(given).find(([, value]) => value !== undefined)?.[0];
  if (format !== 'archive' || option === undefined) {
    return;
  }
  const message = `${option}: an archive always contains the whole log; use --format ndjson, csv or parquet for a part`;
  throw new LastseenError('ERR_REQUEST_INVALID', message);
}
