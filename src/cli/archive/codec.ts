/**
 * The lines of an archive ⇄ values. Each line is a JSON object. The first line names the log. Its events follow, then the
 * feeds from which retention has deleted events, then the keys of its batches. The last line marks the archive as complete.
 */
import { z } from 'zod';
import type { KeyedBatch, PrunedFeed } from '../../engines/archive.ts';
import { LastseenError, quote } from '../../errors.ts';
import { compact, memberSpan } from '../../json-text.ts';
import { type LogEvent, MAX_NAME_CHARACTERS } from '../../log/event.ts';

export const FORMAT = 1;

export type ArchiveLine =
  | { readonly kind: 'log'; readonly epoch: string; readonly head: number }
  | { readonly kind: 'event'; readonly event: LogEvent }
  | { readonly kind: 'feed'; readonly feed: PrunedFeed }
  | { readonly kind: 'batch'; readonly batch: KeyedBatch }
  | { readonly kind: 'end'; readonly events: number; readonly floor: number; readonly head: number };

const Count = z.int().min(0);
const Position = z.int().min(1);
const Time = z.int();
const Name = z
  .string()
  .min(1)
  .max(2 * MAX_NAME_CHARACTERS);

const Lines = z.union([
  z.strictObject({
    lastseen_export: z.literal(FORMAT),
    epoch: z.string().regex(/^[0-9a-z]{8}$/),
    head: Count,
  }),
  z.strictObject({
    position: Position,
    access_id: Name,
    version: Position,
    created_at: Time,
    recorded_at: Time,
    id: Name.optional(),
    payload: z.unknown(),
  }),
  z.strictObject({
    feed: Name,
    version: Position,
    position: Position,
    pruned_version: Position,
    pruned_position: Position,
  }),
  z.strictObject({
    batch: z.string(),
    fingerprint: z.string(),
    first_position: Position,
    last_position: Count,
  }),
  z.strictObject({ end: z.literal(true), events: Count, floor: Position, head: Count }),
]);

export function encodeEvent(event: LogEvent): string {
  const id = event.id === null ? '' : `"id":${JSON.stringify(event.id)},`;
  return (
    `{"position":${event.position},"access_id":${JSON.stringify(event.accessId)},` +
    `"version":${event.version},"created_at":${event.createdAt},` +
    `"recorded_at":${event.recordedAt},${id}"payload":${event.payload}}\n`
  );
}

export function encodeFeed(feed: PrunedFeed): string {
  return encodeLine({
    feed: feed.accessId,
    version: feed.version,
    position: feed.position,
    pruned_version: feed.prunedVersion,
    pruned_position: feed.prunedPosition,
  });
}

export function encodeBatch(batch: KeyedBatch): string {
  return encodeLine({
    batch: batch.key,
    fingerprint: batch.fingerprint,
    first_position: batch.firstPosition,
    last_position: batch.lastPosition,
  });
}

export function encodeLine(value: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify(value)}\n`;
}

/** @throws ERR_REQUEST_INVALID, which names the line */
export function decodeLine(text: string, number: number): ArchiveLine {
  const parsed = Lines.safeParse(parseJson(text, number));
  if (!parsed.success) {
    throw lineError(number, `is not a line of an archive (lastseen export --format archive): ${quote(text)}`);
  }
  const value = parsed.data;
  if ('lastseen_export' in value) {
    return { kind: 'log', epoch: value.epoch, head: value.head };
  }
  if ('feed' in value) {
    return {
      kind: 'feed',
      feed: {
        accessId: value.feed,
        version: value.version,
        position: value.position,
        prunedVersion: value.pruned_version,
        prunedPosition: value.pruned_position,
      },
    };
  }
  if ('batch' in value) {
    return {
      kind: 'batch',
      batch: {
        key: value.batch,
        fingerprint: value.fingerprint,
        firstPosition: value.first_position,
        lastPosition: value.last_position,
      },
    };
  }
  if ('end' in value) {
    return { kind: 'end', events: value.events, floor: value.floor, head: value.head };
  }
  const payload = memberSpan(text, text.indexOf('{'), 'payload');
  if (payload === undefined) {
    throw lineError(number, 'has no payload');
  }
  return {
    kind: 'event',
    event: {
      position: value.position,
      accessId: value.access_id,
      version: value.version,
      createdAt: value.created_at,
      recordedAt: value.recorded_at,
      id: value.id ?? null,
      payload: compact(text.slice(payload.start, payload.end)),
    },
  };
}

export function lineError(number: number, fault: string): LastseenError {
  return new LastseenError('ERR_REQUEST_INVALID', `line ${number} ${fault}: nothing was imported`);
}

function parseJson(text: string, number: number): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw lineError(number, 'is not JSON');
  }
}
