/** Writes an archive: a log as text, with its positions and versions, for `lastseen import` on any engine. */
import type { LogSource } from '../../engines/archive.ts';
import { nextTurn } from '../../runtime.ts';
import { systemRuntime } from '../../system-runtime.ts';
import type { Output } from '../io/output.ts';
import { createProgress } from '../io/progress.ts';
import { encodeBatch, encodeEvent, encodeFeed, encodeLine, encodeTerm, FORMAT } from './codec.ts';

const PAGE = 2_000;

/**
 * Writes the whole log. Returns the number of its events, or `undefined` if `stop` aborted. Events come before feeds, so
 * the feeds name what retention deletes during the export.
 */
export async function writeArchive(
  source: LogSource,
  out: Output,
  stop: AbortSignal,
): Promise<number | undefined> {
  const { epoch, head, taggedFrom } = await source.state();
  await write(out, encodeLine({ lastseen_export: FORMAT, epoch, head, tagged_from: taggedFrom }));
  const progress = createProgress('exported', systemRuntime.clock);
  let count = 0;
  for (let position = 0; position < head;) {
    const events = await source.events(position, PAGE);
    const wanted = events.filter((event) => event.position <= head);
    await write(out, wanted.map(encodeEvent).join(''));
    count += wanted.length;
    progress.show(count, position / head);
    // Reads of SQLite are synchronous: this lets signals in.
    await nextTurn(systemRuntime.timers);
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
  for (let after = 0; ;) {
    const terms = await source.terms(after, PAGE);
    await write(
      out,
      terms
        .filter((term) => term.firstPosition <= head)
        .map(encodeTerm)
        .join(''),
    );
    const last = terms.at(-1);
    if (last === undefined) {
      break;
    }
    after = last.term;
  }
  const { floor } = await source.state();
  await write(out, encodeLine({ end: true, events: count, floor: Math.min(floor, head + 1), head }));
  progress.end();
  return count;
}

async function write(out: Output, text: string): Promise<void> {
  if (text !== '') {
    await out.write(text);
  }
}
