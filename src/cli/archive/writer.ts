/** Writes an archive: a log as text, with its positions and versions, for `lastseen import` on any engine. */
import type { LogSource } from '../../engines/archive.ts';
import { nextTurn } from '../../runtime.ts';
import { systemRuntime } from '../../system-runtime.ts';
import type { Output } from '../io/output.ts';
import { createProgress } from '../io/progress.ts';
import {
  encodeBatch,
  encodeEvent,
  encodeFeed,
  encodeLine,
  encodeSegment,
  encodeTerm,
  FORMAT,
} from './codec.ts';

/**
 * Writes the whole log as of one moment. Returns the number of events written, or `undefined` if `stop` aborted. The last
 * line confirms the epoch of the first.
 * @throws ERR_LOG_REPLACED if another log replaced this one meanwhile
 */
export async function writeArchive(
  source: LogSource,
  out: Output,
  stop: AbortSignal,
): Promise<number | undefined> {
  const cut = await source.cut();
  const { epoch, head, taggedFrom } = cut.start;
  await write(out, encodeLine({ lastseen_export: FORMAT, epoch, head, tagged_from: taggedFrom }));
  const progress = createProgress('exported', systemRuntime.clock);
  let count = 0;
  try {
    for (let page = await cut.next(); page !== undefined; page = await cut.next()) {
      await write(out, page.events.map(encodeEvent).join(''));
      await write(out, page.batches.map(encodeBatch).join(''));
      count += page.events.length;
      const position = page.events.at(-1)?.position ?? head;
      progress.show(count, Math.min(1, position / Math.max(1, head)));
      // Reads of SQLite are synchronous: this lets signals in.
      await nextTurn(systemRuntime.timers);
      if (stop.aborted) {
        return undefined;
      }
    }
    const end = await cut.end();
    await writeRows(out, end.feeds, encodeFeed);
    await writeRows(out, end.batches, encodeBatch);
    await writeRows(out, end.terms, encodeTerm);
    await writeRows(out, end.segments, encodeSegment);
    await cut.confirm();
    const { floor, head: lastHead } = end.state;
    await write(out, encodeLine({ end: true, epoch, events: count, floor, head: lastHead }));
  } finally {
    progress.end();
  }
  return count;
}

async function writeRows<Row>(
  out: Output,
  pages: AsyncIterable<readonly Row[]>,
  encode: (row: Row) => string,
): Promise<void> {
  for await (const rows of pages) {
    await write(out, rows.map((row) => encode(row)).join(''));
  }
}

async function write(out: Output, text: string): Promise<void> {
  if (text !== '') {
    await out.write(text);
  }
}
