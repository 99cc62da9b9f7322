/** An archive, and lastseen import: a log as text, from any engine to any engine, with its positions and versions. */
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { setImmediate as turn } from 'node:timers/promises';
import type { Command } from 'commander';
import type { LogSource, LogTarget } from '../../engines/archive.ts';
import { newEpoch } from '../../engines/epoch.ts';
import { openTarget } from '../../engines/open.ts';
import { LastseenError } from '../../errors.ts';
import type { Event } from '../../log/event.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { databaseOf, databaseOption, type DatabaseOptions } from '../io/database.ts';
import type { Output } from '../io/output.ts';
import { createProgress } from '../io/progress.ts';
import { decodeLine, encodeBatch, encodeEvent, encodeFeed, FORMAT, type Line, line, wrong } from './codec.ts';

const PAGE = 2_000;

export function addImport(program: Command): void {
  databaseOption(
    program
      .command('import')
      .description('fill an empty database from an export, whole or not at all')
      .argument('[file]', 'an archive, as "lastseen export" writes it; "-" or none: standard input')
      .option('--keep-epoch', 'clients go on with the cursors they have (see below)'),
  )
    .addHelpText(
      'after',
      `
Positions and versions are kept. The imported log gets a new epoch, so that clients that have seen what came after the
export are told. --keep-epoch is for a planned move: stop the server, export, import, start on the new database.`,
    )
    .action(async (file: string | undefined, options: DatabaseOptions & { keepEpoch?: boolean }) => {
      await importLog(file === '-' ? undefined : file, options);
    });
}

/**
 * Writes the whole log; returns the number of its events, or `undefined` when it was stopped. Events first: what
 * retention takes meanwhile is then named by the feeds that follow.
 */
export async function writeArchive(
  source: LogSource,
  out: Output,
  stop: AbortSignal,
): Promise<number | undefined> {
  const { epoch, head } = await source.state();
  await write(out, line({ lastseen_export: FORMAT, epoch, head }));
  const progress = createProgress('exported');
  let count = 0;
  for (let position = 0; position < head;) {
    const events = await source.events(position, PAGE);
    const wanted = events.filter((event) => event.position <= head);
    await write(out, wanted.map(encodeEvent).join(''));
    count += wanted.length;
    progress.show(count, position / head);
    // Reads of a file take no time of their own: let signals in.
    await turn();
    if (stop.aborted) {
      return undefined;
    }
    const last = events.at(-1);
    if (last === undefined) {
      break;
    }
    position = last.position;
  }
  for (let after = ''; ;) {
    const feeds = await source.feeds(after, PAGE);
    await write(out, feeds.map(encodeFeed).join(''));
    const last = feeds.at(-1);
    if (last === undefined) {
      break;
    }
    after = last.accessId;
  }
  for (let after = ''; ;) {
    const batches = await source.batches(after, PAGE);
    const wanted = batches.filter((batch) => batch.lastPosition <= head);
    await write(out, wanted.map(encodeBatch).join(''));
    const last = batches.at(-1);
    if (last === undefined) {
      break;
    }
    after = last.key;
  }
  const { floor } = await source.state();
  await write(out, line({ end: true, events: count, floor: Math.min(floor, head + 1), head }));
  progress.end();
  return count;
}

async function write(out: Output, text: string): Promise<void> {
  if (text !== '') {
    await out.write(text);
  }
}

async function importLog(
  file: string | undefined,
  options: DatabaseOptions & { keepEpoch?: boolean },
): Promise<void> {
  const input = file === undefined ? process.stdin : createReadStream(file);
  const target = await openTarget(databaseOf(options), systemRuntime);
  try {
    const lines = createInterface({ input, crlfDelay: Infinity });
    const count = await readAll(lines, target, options.keepEpoch === true);
    process.stderr.write(`${count} events imported\n`);
  } finally {
    await target.close();
  }
}

/** @throws ERR_REQUEST_INVALID naming the line that does not fit */
async function readAll(
  lines: AsyncIterable<string>,
  target: LogTarget,
  keepsEpoch: boolean,
): Promise<number> {
  const progress = createProgress('imported');
  const versions = new Map<string, number>();
  let epoch: string | undefined;
  let end: (Line & { kind: 'end' }) | undefined;
  let batch: Event[] = [];
  let count = 0;
  let position = 0;
  let number = 0;

  const flush = async (): Promise<void> => {
    await target.events(batch);
    batch = [];
    progress.show(count);
  };

  for await (const text of lines) {
    number += 1;
    if (text.trim() === '') {
      continue;
    }
    const found = decodeLine(text, number);
    if (end !== undefined) {
      throw wrong(number, 'stands behind the end of the export');
    }
    if ((epoch === undefined) !== (found.kind === 'log')) {
      throw wrong(number, 'is not in its place: the first line, and only that, names the log');
    }
    switch (found.kind) {
      case 'log':
        epoch = found.epoch;
        break;
      case 'event': {
        const { event } = found;
        if (event.position <= position) {
          throw wrong(number, 'has a position that does not ascend');
        }
        const before = versions.get(event.accessId);
        if (before !== undefined && event.version <= before) {
          throw wrong(number, 'has a version that does not ascend');
        }
        versions.set(event.accessId, event.version);
        position = event.position;
        count += 1;
        batch.push(event);
        if (batch.length >= PAGE) {
          await flush();
        }
        break;
      }
      case 'feed':
        await flush();
        await target.feeds([found.feed]);
        break;
      case 'batch':
        await target.batches([found.batch]);
        break;
      case 'end':
        end = found;
        break;
    }
  }
  if (epoch === undefined || end?.events !== count) {
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      `the export is cut off after line ${number}: nothing was imported`,
    );
  }
  await flush();
  await target.commit({
    epoch: keepsEpoch ? epoch : newEpoch(systemRuntime.random),
    floor: end.floor,
    head: end.head,
  });
  progress.end();
  return count;
}
