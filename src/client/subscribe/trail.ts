/**
 * The trail of a feed: a few places that the loop has passed, at about doubling distances. If the log refuses the cursor
 * of the loop, the trail shows the server where the history of the loop and the log part (G13).
 */

/** A place of the feed. */
interface TrailPlace {
  readonly cursor: string;
  /** Version of the last event before the place. */
  readonly version: number;
}

export interface Trail {
  /** The highest version that the loop has seen since the history was last replaced. */
  readonly lastVersion: number | undefined;
  /** The loop has taken an event. `before` is where it stood: a cursor, "start" or "now". */
  add(event: TrailPlace, before: string): void;
  /** Reading starts again at a cursor. The places after it, if it is known, belong to a history that the log has lost. */
  restartAt(cursor: string): void;
  /** The version at a cursor, if the trail has it. */
  versionOf(cursor: string): number | undefined;
  /** The cursors to send, newest first: at most `LEVELS + 1`. */
  cursors(): readonly string[];
  /** The places as a text for a store. */
  text(): string;
}

/** The place of level n is the newest whose version is divisible by 2^n, but not by 2^(n+1): it is at most 2^(n+1) back. */
const LEVELS = 20;

/** The version of so many events is remembered, to name the range that a replaced history leaves unproven. */
const MAX_RECENT = 256;

/** The text of one place in a store. */
const PLACE = /^(\d{1,16}):([\w.]+)$/;

/** `text` is what a store has of an earlier trail. Parts of it that are no places are ignored. */
export function createTrail(text: string | null | undefined): Trail {
  const levels = new Map<number, TrailPlace>();
  const recent = new Map<string, number>();
  let origin: TrailPlace | undefined;
  let lastVersion: number | undefined;

  // The text has the newest place first.
  for (const part of (text ?? '').split(' ').reverse()) {
    const [, version, cursor] = PLACE.exec(part) ?? [];
    if (version !== undefined && cursor !== undefined) {
      const place = { cursor, version: Number(version) };
      origin ??= place;
      put(place);
    }
  }

  function put(place: TrailPlace): void {
    const { cursor, version } = place;
    levels.set(Math.min(31 - Math.clz32(version & -version), LEVELS - 1), place);
    recent.set(cursor, version);
    lastVersion = version;
  }

  function places(): TrailPlace[] {
    const all = [...levels.values()].sort((a, b) => b.version - a.version);
    return origin === undefined || all.at(-1)?.cursor === origin.cursor ? all : [...all, origin];
  }

  return {
    get lastVersion() {
      return lastVersion;
    },
    add(event, before) {
      if (lastVersion === undefined || event.version !== lastVersion + 1) {
        // The first event, or the first one after a restart.
        const version = event.version - 1;
        forgetAfter(version);
        origin = isCursor(before) ? { cursor: before, version } : undefined;
      }
      put(event);
      if (recent.size > MAX_RECENT) {
        const [oldest = ''] = recent.keys();
        recent.delete(oldest);
      }
    },
    restartAt(cursor) {
      const version = versionOf(cursor);
      if (version !== undefined) {
        forgetAfter(version);
      }
    },
    versionOf,
    cursors: () => places().map(({ cursor }) => cursor),
    text: () =>
      places()
        .map(({ cursor, version }) => `${version}:${cursor}`)
        .join(' '),
  };

  function versionOf(cursor: string): number | undefined {
    return recent.get(cursor) ?? places().find((place) => place.cursor === cursor)?.version;
  }

  function forgetAfter(version: number): void {
    for (const [level, place] of levels) {
      if (place.version > version) {
        levels.delete(level);
      }
    }
    for (const [cursor, seen] of recent) {
      if (seen > version) {
        recent.delete(cursor);
      }
    }
    if (origin !== undefined && origin.version > version) {
      origin = undefined;
    }
  }
}

/** Whether a start names a place, and not "start" or "now". */
export function isCursor(start: string): boolean {
  return start !== 'start' && start !== 'now';
}
