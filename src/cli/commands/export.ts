/** lastseen export: the whole log as an archive, or a range of it as NDJSON, CSV or Parquet. */
import { constants } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import type { LogSource } from '../../engines/archive.ts';
import { openSource } from '../../engines/open.ts';
import { LastseenError } from '../../errors.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { writeArchive } from '../archive/archive.ts';
import { createCsvEncoder, createNdjsonEncoder, type EventEncoder } from '../export/format.ts';
import { cursorOf, openRange, type RangeOptions, resolveRange } from '../export/range.ts';
import { databaseOf, databaseOption, type DatabaseOptions } from '../io/database.ts';
import { openOutput, type Output } from '../io/output.ts';
import { createProgress } from '../io/progress.ts';

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
  databaseOption(
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
    .option('--access-id <name>', 'only its events; may be given again', gather, [])
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

function gather(name: string, names: readonly string[]): string[] {
  return [...names, name];
}

async function exportTo(file: string | undefined, options: ExportOptions): Promise<void> {
  refuseRangeOfArchive(options);
  const source = await openSource(databaseOf(options), systemRuntime);
  const stop = new AbortController();
  let output: Output | undefined;
  let stopListening = (): void => undefined;
  try {
    output = await openOutput(file, options.force === true);
    stopListening = onInterrupt(stop, output);
    const closing = await (options.format === 'archive'
      ? exportArchive(source, output, stop.signal)
      : exportRange(source, output, options, await ENCODERS[options.format](), stop.signal));
    process.stderr.write(closing);
  } catch (error) {
    output?.abandon();
    throw error;
  } finally {
    stopListening();
    await source.close();
  }
}

async function exportArchive(source: LogSource, output: Output, stop: AbortSignal): Promise<string> {
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
  source: LogSource,
  output: Output,
  options: RangeOptions,
  encoder: EventEncoder,
  stop: AbortSignal,
): Promise<string> {
  const range = await resolveRange(source, options);
  const reader = await openRange(source, range);
  const progress = createProgress('exported');
  const positions = Math.max(1, range.through - range.after);
  let count = 0;
  let through = range.after;
  try {
    while (!stop.aborted) {
      const page = await reader.next();
      if (page === undefined) {
        break;
      }
      await put(encoder.encode(page.events));
      count += page.events.length;
      ({ through } = page);
      progress.show(count, (through - range.after) / positions);
      // Reads of a file take no time of their own: let signals in.
      await turn();
    }
  } finally {
    progress.end();
  }
  await put(encoder.end());
  await reader.confirm();
  await output.commit();
  const isWhole = through >= range.through;
  return [
    ...(reader.mayLack
      ? ['retention was at work meanwhile: what it took before it was read is not in it\n']
      : []),
    `${isWhole ? '' : 'interrupted: '}${count} events exported\n`,
    `go on with --after ${cursorOf(range, through)}\n`,
  ].join('');

  async function put(data: string | Uint8Array): Promise<void> {
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

function refuseRangeOfArchive({ format, accessId, after, until, since, before }: ExportOptions): void {
  const given = { '--after': after, '--until': until, '--since': since, '--before': before };
  const option =
    accessId.length > 0 ? '--access-id' : Object.entries(given).find(([, value]) => value !== undefined)?.[0];
  if (format !== 'archive' || option === undefined) {
    return;
  }
  const message = `${option}: an archive is of the whole log: give --format ndjson, csv or parquet for a part of it`;
  throw new LastseenError('ERR_REQUEST_INVALID', message);
}
