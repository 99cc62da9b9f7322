/**
 * The part of a log that an export reads: the events between two positions, of all access_ids or of some. A time is
 * resolved to a position once (G11), so the next export can begin exactly where this one ended (G3).
 */
import type { LogSource } from '../../engines/archive.ts';
import { LastseenError, quote } from '../../errors.ts';
import { encodeCursor, resolveCursor, tooOldError } from '../../log/cursor.ts';
import { type LogEvent, nameFault } from '../../log/event.ts';

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
  readonly epoch: string;
  readonly accessIds: readonly string[];
  /** Exclusive. */
  readonly after: number;
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
  const { epoch, head } = bounds;
  const { after: from = 'start' } = options;
  let after = from === 'now' ? head : 0;
  let isResumed = false;
  if (from !== 'start' && from !== 'now') {
    const prunedThrough = await source.prunedThrough(accessIds);
    after = withOptionName('--after', () => resolveCursor(from, bounds, prunedThrough));
    isResumed = true;
  } else if (since !== undefined) {
    after = await positionBefore(source, since, head);
  }
  let through = head;
  const { until } = options;
  if (until !== undefined) {
    through = withOptionName('--until', () => resolveCursor(until, bounds, 0));
  } else if (before !== undefined) {
    through = await positionBefore(source, before, head);
  }
  if (through < after) {
    const end = options.until === undefined ? '--before' : '--until';
    const begin = options.since === undefined ? '--after' : '--since';
    throw invalid(end, `must not be before ${begin}`);
  }
  return { epoch, accessIds, after, through, isResumed };
}

export async function openRange(source: LogSource, range: Range): Promise<RangeReader> {
  const { accessIds, through, epoch } = range;
  const prunedAtStart = await source.prunedThrough(accessIds);
  let position = range.after;
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
    if (state.epoch !== epoch) {
      const message = 'another log replaced this one during the export: start again';
      throw new LastseenError('ERR_CURSOR_EPOCH', message);
    }
    const pruned = await source.prunedThrough(accessIds);
    if (range.isResumed && pruned > confirmed) {
      withOptionName('--after', () => refusePruned(pruned));
    }
    if (pruned > Math.max(confirmed, prunedAtStart)) {
      mayLack = true;
    }
    confirmed = position;
  }

  function refusePruned(pruned: number): never {
    throw tooOldError(epoch, pruned);
  }

  return {
    async next() {
      if (position >= through) {
        return undefined;
      }
      const page = await (accessIds.length === 0 ? nextOfAll() : nextOfSome());
      position = page.through;
      if (position - confirmed >= STEP_POSITIONS) {
        await confirm();
      }
      return page;
    },
    confirm,
    get mayLack() {
      return mayLack;
    },
  };
}

/** The cursor of a position in the log of the range. */
export function cursorAt(range: Range, position: number): string {
  return encodeCursor(range.epoch, position);
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

/** Adds the option, the code and the floor to the message of a verdict. */
function withOptionName<T>(option: string, resolve: () => T): T {
  try {
    return resolve();
  } catch (error) {
    if (!(error instanceof LastseenError)) {
      throw error;
    }
    const floor = error.floor === undefined || option === '--until' ? '' : ` (floor: ${error.floor})`;
    const message = `${option}: ${error.code}: ${error.message}${floor}`;
    throw new LastseenError(error.code, message, { cause: error });
  }
}

function invalid(option: string, fault: string): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', `${option}: ${fault}`);
}
