/**
 * The checks of the events of a log, as a list: each sees every page, ascending, with what the log said about it at that
 * moment, and throws at the first event that does not fit. Retention may delete events meanwhile: marks only move forward,
 * so an event that is missing on a page is covered by the mark that the same page has.
 */
import type { VerifyPage } from '../../engines/verify.ts';
import { quote } from '../../errors.ts';
import { termOf } from '../../log/place.ts';
import { LogFault } from './fault.ts';

/** Checks the pages of a log in their order. */
export interface PageCheck {
  /** @throws LogFault */
  page(page: VerifyPage): void;
}

/** Events of the log that the marks of retention leave. */
export interface Positions extends PageCheck {
  /** Events that were read. */
  readonly count: number;
  /** The first position above the floor without an event; `undefined` if there is none. */
  readonly firstHole: number | undefined;
}

/** Positions ascend, and none is below the floor. */
export function checkPositions(): Positions {
  let last = 0;
  let count = 0;
  let firstHole: number | undefined;
  return {
    page({ events, state }) {
      for (const { position } of events) {
        if (position <= last) {
          throw new LogFault(position, `comes after position ${last}`);
        }
        if (position < state.floor) {
          throw new LogFault(position, `an event below the floor of the log, which is ${state.floor}`);
        }
        const expected = Math.max(last + 1, state.floor);
        if (position !== expected) {
          firstHole ??= expected;
        }
        last = position;
        count += 1;
      }
    },
    get count() {
      return count;
    },
    get firstHole() {
      return firstHole;
    },
  };
}

/** The last event of a feed that was read. */
export interface LastEvent {
  readonly version: number;
  readonly position: number;
}

export interface Versions extends PageCheck {
  readonly feeds: ReadonlyMap<string, LastEvent>;
}

/** Versions of an access_id are 1, 2, 3, …, except those that its mark says are deleted; no event is at or below the mark. */
export function checkVersions(): Versions {
  const feeds = new Map<string, LastEvent>();
  return {
    feeds,
    page({ events, marks }) {
      for (const { accessId, version, position } of events) {
        const { prunedVersion = 0, prunedPosition = 0 } = marks.get(accessId) ?? {};
        if (version <= prunedVersion || position <= prunedPosition) {
          throw new LogFault(
            position,
            `version ${version} of ${quote(accessId)} is in the log, and retention has deleted it: its mark is version ${prunedVersion} at position ${prunedPosition}`,
          );
        }
        const before = feeds.get(accessId)?.version ?? 0;
        if (version <= before || (version !== before + 1 && version - 1 > prunedVersion)) {
          throw new LogFault(
            position,
            `version ${version} of ${quote(accessId)} follows version ${before}, and retention has deleted those up to ${prunedVersion}`,
          );
        }
        feeds.set(accessId, { version, position });
      }
    },
  };
}

/** The tag of an event names the term that was in force at its position, and events of one commit were recorded together. */
export function checkTags(): PageCheck {
  let lastTag = 0;
  let lastRecordedAt = 0;
  return {
    page({ events, terms, state, headTag }) {
      let next = 0;
      let inForce: number[] = [];
      for (const { position, tag, recordedAt } of events) {
        for (
          let term = terms[next];
          term !== undefined && term.firstPosition <= position;
          term = terms[next]
        ) {
          inForce =
            terms[next - 1]?.firstPosition === term.firstPosition ? [...inForce, term.term] : [term.term];
          next += 1;
        }
        if (tag === 0 ? position >= state.taggedFrom : position < state.taggedFrom) {
          const rule = `events have tags from position ${state.taggedFrom} on`;
          throw new LogFault(position, `${tag === 0 ? 'has no tag' : `has the tag ${tag}`}, and ${rule}`);
        }
        if (tag !== 0 && !inForce.includes(termOf(tag))) {
          throw new LogFault(
            position,
            `has a tag of the term ${termOf(tag)}, and the term here is ${inForce.join(' or ') || 'unknown'}`,
          );
        }
        if (tag !== 0 && tag === lastTag && recordedAt !== lastRecordedAt) {
          throw new LogFault(
            position,
            `was recorded at ${recordedAt}, and the event before it, of the same commit, at ${lastRecordedAt}`,
          );
        }
        if (position === state.head && headTag !== undefined && headTag !== tag) {
          throw new LogFault(
            position,
            `has the tag ${tag}, and the log says that its last event has ${headTag}`,
          );
        }
        lastTag = tag;
        lastRecordedAt = recordedAt;
      }
    },
  };
}
