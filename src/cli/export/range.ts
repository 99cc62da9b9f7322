/**
 * The part of a log that an export reads: the events between two positions, of all access_ids or of some. A time is
 * resolved to a position once (G11), so the next export can begin exactly where this one ended (G3).
 */
import type { LogSource } from '../../engines/archive.ts';
import { LastseenError, quote } from '../../errors.ts';
import {
  cursorOf,
  judgeCursor,
  malformedCursor,
  parseCursor,
  refusedCursor,
  tooOldError,
} from '../../log/cursor.ts';
import { type LogEvent, nameFault } from '../../log/event.ts';
import { originOf, type Place } from '../../log/place.ts';

const PAGE_EVENTS = 2_000;

/** Positions that one read covers when it looks for the events of some access_ids. */
const STEP_POSITIONS = 65_536;

export interface RangeOptions {
  /** Empty: all. */
  readonly accessId: readonly string[];
  /** A cursor, "start" or "now". */
  readonly after?: string;
  readonly until?: string;
  readonly since?: string;
  readonly before?: string;
}

export interface Range {
  readonly accessIds: readonly string[];
  /** Exclusive. */
  readonly after: Place;
  /** Inclusive. */
  readonly through: number;
  /** The range continues an earlier export: no event after `after` may be missing. */
  readonly isResumed: boolean;
}

/** Events of the range. With the pages before, it has every event of the range up to and including `through`. */
export interface RangePage {
  readonly events: readonly LogEvent[];
  readonly through: number;
}

export interface RangeReader {
  /** The next page, or `undefined` at the end. A page may be empty although more events follow. */
  next(): Promise<RangePage | undefined>;
  /**
   * Checks that retention deleted no event before it was read.
   * @throws ERR_CURSOR_TOO_OLD if it did and the range continues another, ERR_CURSOR_EPOCH if the log was replaced
   */
  confirm(): Promise<void>;
  /** The cursor of the last event that was read, or of the start of the range. */
  readonly cursor: string;
  /** In a range that continues no other, retention deleted events, perhaps before they were read. */
  readonly mayLack: boolean;
}

/** @throws ERR_CURSOR_… with the floor, ERR_REQUEST_INVALID; both name the option */
export async function resolveRange(source: LogSource, options: RangeOptions): Promise<Range> {
  const accessIds = options.accessId;
  for (const name of accessIds) {
    const fault = nameFault(name);
    if (fault !== undefined) {
      throw invalid('--access-id', fault);
    }
  }
  const since = parseTime('--since', options.since);
  const before = parseTime('--before', options.before);
  const bounds = await source.state();
  const { head } = bounds;
  const { after: from = 'start' } = options;
  let after = from === 'now' ? await source.placeAt(head) : originOf(source.lineage);
  let isResumed = false;
  if (from !== 'start' && from !== 'now') {
    after = await withOptionName('--after', () => resolveCursor(source, accessIds, from));
    isResumed = true;
  } else if (since !== undefined) {
    after = await source.placeAt(await positionBefore(source, since, head));
  }
  let through = head;
  const { until } = options;
  if (until !== undefined) {
    through = await withOptionName('--until', () => resolveEnd(source, until));
  } else if (before !== undefined) {
    through = await positionBefore(source, before, head);
  }
  if (through < after.position) {
    const end = options.until === undefined ? '--before' : '--until';
    const begin = options.since === undefined ? '--after' : '--since';
    throw invalid(end, `must not be before ${begin}`);
  }
  return { accessIds, after, through, isResumed };
}

export async function openRange(source: LogSource, range: Range): Promise<RangeReader> {
  const { accessIds, through } = range;
  const { position: prunedAtStart } = await source.prunedThrough(accessIds);
  let { position } = range.after;
  let place = range.after;
  let confirmed = position;
  let mayLack = false;

  async function nextOfAll(): Promise<RangePage> {
    const events = await source.events(position, PAGE_EVENTS);
    const last = events.at(-1);
    return {
      events: last === undefined || last.position <= through ? events : events.filter(isInRange),
      through: Math.min(through, last?.position ?? through),
    };
  }

  async function nextOfSome(): Promise<RangePage> {
    const end = Math.min(through, position + STEP_POSITIONS);
    const events = await source.eventsOf(accessIds, { after: position, through: end, limit: PAGE_EVENTS });
    return { events, through: events.at(-1)?.position ?? end };
  }

  const isInRange = (event: LogEvent): boolean => event.position <= through;

  async function confirm(): Promise<void> {
    const state = await source.state();
    if (state.epoch !== source.lineage.epoch) {
      const message = 'another log replaced this one during the export: start again';
      throw new LastseenError('ERR_CURSOR_EPOCH', message);
    }
    const pruned = await source.prunedThrough(accessIds);
    if (range.isResumed && pruned.position > confirmed) {
      throw withOption('--after', tooOldError(pruned));
    }
    if (pruned.position > Math.max(confirmed, prunedAtStart)) {
      mayLack = true;
    }
    confirmed = position;
  }

  return {
    async next() {
      if (position >= through) {
        return undefined;
      }
      const page = await (accessIds.length === 0 ? nextOfAll() : nextOfSome());
      position = page.through;
      place = page.events.at(-1) ?? place;
      if (position - confirmed >= STEP_POSITIONS) {
        await confirm();
      }
      return page;
    },
    confirm,
    get cursor() {
      return cursorOf(place);
    },
    get mayLack() {
      return mayLack;
    },
  };
}

/** @throws ERR_CURSOR_… with the floor */
async function resolveCursor(source: LogSource, accessIds: readonly string[], text: string): Promise<Place> {
  const cursor = parseCursor(text);
  if (cursor === undefined) {
    throw malformedCursor(text, await source.prunedThrough(accessIds));
  }
  const judgement = judgeCursor(cursor, await source.cursorFacts(accessIds, cursor));
  if (judgement.verdict !== 'held') {
    throw refusedCursor(judgement.verdict, await source.prunedThrough(accessIds));
  }
  return judgement.place;
}

/** The end of a range may be an event that retention has deleted. @throws ERR_CURSOR_… */
async function resolveEnd(source: LogSource, text: string): Promise<number> {
  try {
    return (await resolveCursor(source, [], text)).position;
  } catch (error) {
    const cursor = parseCursor(text);
    if (error instanceof LastseenError && error.code === 'ERR_CURSOR_TOO_OLD' && cursor !== undefined) {
      return cursor.position;
    }
    throw error;
  }
}

/**
 * The position before the first event recorded at or after `time`, by binary search. If a clock went back, several
 * positions qualify, and it returns one of them.
 */
async function positionBefore(source: LogSource, time: number, head: number): Promise<number> {
  let low = 0;
  let high = head;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const [event] = await source.events(middle, 1);
    if (event === undefined || event.position > high || event.recordedAt >= time) {
      high = middle;
    } else {
      low = event.position;
    }
  }
  return low;
}

function parseTime(option: string, text: string | undefined): number | undefined {
  if (text === undefined) {
    return undefined;
  }
  const form = /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?$/;
  const day = form.exec(text)?.[1];
  const time = Date.parse(text);
  const isDay =
    day !== undefined && !Number.isNaN(Date.parse(day)) && new Date(day).toISOString().startsWith(day);
  if (!isDay || Number.isNaN(time)) {
    const example = 'a day such as 2026-01-31, or a time with its zone such as 2026-01-31T12:00:00Z';
    throw invalid(option, `must be ${example}, got ${quote(text)}`);
  }
  return time;
}

/** Adds the name of the option to a verdict. */
async function withOptionName<T>(option: string, resolve: () => Promise<T>): Promise<T> {
  try {
    return await resolve();
  } catch (error) {
    throw error instanceof LastseenError ? withOption(option, error) : error;
  }
}

/** Adds the option, the code and the floor to the message of a verdict. */
function withOption(option: string, error: LastseenError): LastseenError {
  const floor = error.floor === undefined || option === '--until' ? '' : ` (floor: ${error.floor})`;
  return new LastseenError(error.code, `${option}: ${error.code}: ${error.message}${floor}`, {
    cause: error,
  });
}

function invalid(option: string, fault: string): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', `${option}: ${fault}`);
}
