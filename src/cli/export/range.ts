/**
 * The part of a log that an export reads: what lies between two places, of all access_ids or of some. A time chooses a
 * place once (G11), so that a range is always one of positions and the next one can begin exactly where it ended (G3).
 */
import type { LogSource } from '../../engines/archive.ts';
import { LastseenError, shown } from '../../errors.ts';
import { encodeCursor, resolveCursor, tooOld } from '../../log/cursor.ts';
import { type Event, nameFault } from '../../log/event.ts';

const PAGE_EVENTS = 2_000;

/** Positions of one look for the events of some access_ids, however few there are. */
const STEP_POSITIONS = 65_536;

export interface RangeOptions {
  /** None: all. */
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
  /** It continues what somebody has: nothing after `after` may be gone. */
  readonly isResumed: boolean;
}

/** Events of the range; every event of it up to and including `through` is in them or was before. */
export interface RangePage {
  readonly events: readonly Event[];
  readonly through: number;
}

export interface RangeReader {
  /** The next events, or `undefined` at the end. A page may be empty: there is more. */
  next(): Promise<RangePage | undefined>;
  /**
   * Makes sure that retention took nothing from under what was read.
   * @throws ERR_CURSOR_TOO_OLD if the range continues another, ERR_CURSOR_EPOCH when the log was replaced
   */
  confirm(): Promise<void>;
  /** Retention took events of a range from the start, maybe before they were read. */
  readonly mayLack: boolean;
}

/** @throws ERR_CURSOR_… with the floor, ERR_REQUEST_INVALID naming the option */
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
    throw invalid(end, `must not lie before ${begin}`);
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
    const events = await source.eventsOf(accessIds, position, end, PAGE_EVENTS);
    return { events, through: events.at(-1)?.position ?? end };
  }

  const isInRange = (event: Event): boolean => event.position <= through;

  async function confirm(): Promise<void> {
    const state = await source.state();
    if (state.epoch !== epoch) {
      const message = 'the log was replaced by another one while it was read: begin again';
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
    throw tooOld(epoch, pruned);
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

/** What a place is called outside. */
export function cursorAt(range: Range, position: number): string {
  return encodeCursor(range.epoch, position);
}

/**
 * The place before the first event recorded at or after `time`, found by halves. Where clocks went back there are
 * several such places: it is one of them.
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
    throw invalid(option, `must be ${example}, got ${shown(text)}`);
  }
  return time;
}

/** A verdict with the option it is about, its code, and the floor. */
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
