/** lastseen export: the whole log as an archive, or a range of it as NDJSON, CSV or Parquet. */
import { constants } from 'node:os';
import { type Command, Option } from 'commander';
import { type LogSource, openSource } from '../../engines/archive.ts';
import { LastseenError } from '../../errors.ts';
import { nextTurn } from '../../runtime.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { writeArchive } from '../archive/writer.ts';
import { createCsvEncoder, createNdjsonEncoder, type EventEncoder } from '../export/format.ts';
import { cursorAt, openRange, type RangeOptions, resolveRange } from '../export/range.ts';
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

/** Only what is asked for is loaded. */
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
        'write the log to FILE or standard output: whole, for "lastseen import", or a range for other tools',
      )
      .argument('[file]', '"-" or none: standard output'),
  )
    .addOption(
      new Option('--format <name>', 'archive is the one that "lastseen import" reads')
        .choices(FORMATS)
        .default('archive'),
    )
    .option('--access-id <name>', 'only its events; may be given again', collect, [])
    .addOption(
      new Option(
        '--after <cursor>',
        'what comes after a cursor, "start" or "now" (default "start")',
      ).conflicts('since'),
    )
    .addOption(
      new Option('--until <cursor>', 'up to a cursor (default: what is there now)').conflicts('before'),
    )
    .option('--since <time>', 'from the first event recorded at this time or later')
    .option('--before <time>', 'up to the first event recorded at this time or later')
    .option('--force', 'replace FILE')
    .addHelpText(
      'after',
      `
A server may be running. Users and tokens are not part of it. At the end, or on Ctrl-C, what was written is whole and the
cursor to go on from is told on standard error: give it to --after. An archive is always of the whole log; on Ctrl-C there
is none. FILE appears when it is whole.`,
    )
    .action(async (file: string | undefined, options: ExportOptions) => {
      await exportTo(file === '-' ? undefined : file, options);
    });
}

function collect(name: string, names: readonly string[]): string[] {
  return [...names, name];
}

async function exportTo(file: string | undefined, options: ExportOptions): Promise<void> {
  assertWholeArchive(options);
  const source = await openSource(readDatabase(options));
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
    return 'interrupted: an archive is whole, or there is none\n';
  }
  await output.commit();
  return `${count} events exported\n`;
}

/** Returns what to tell the user: what is said of the end of it is true only when all of it is written. */
async function exportRange(
  { source, output, stop }: ExportContext,
  options: RangeOptions,
  encoder: EventEncoder,
): Promise<string> {
  const range = await resolveRange(source, options);
  const reader = await openRange(source, range);
  const progress = createProgress('exported', systemRuntime.clock);
  const positions = Math.max(1, range.through - range.after);
  let count = 0;
  let through = range.after;
  try {
    while (!stop.aborted) {
      const page = await reader.next();
      if (page === undefined) {
        break;
      }
      await write(encoder.encode(page.events));
      count += page.events.length;
      ({ through } = page);
      progress.show(count, (through - range.after) / positions);
      // Reads of a file take no time of their own: let signals in.
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
    ...(reader.mayLack
      ? ['retention was at work meanwhile: what it took before it was read is not in it\n']
      : []),
    `${isWhole ? '' : 'interrupted: '}${count} events exported\n`,
    `go on with --after ${cursorAt(range, through)}\n`,
  ].join('');

  async function write(data: string | Uint8Array): Promise<void> {
    if (data.length > 0) {
      await output.write(data);
    }
  }
}

/** The first signal ends it orderly, the second at once. Returns how to stop listening. */
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
  const message = `${option}: an archive is of the whole log: give --format ndjson, csv or parquet for a part of it`;
  throw new LastseenError('ERR_REQUEST_INVALID', message);
}
