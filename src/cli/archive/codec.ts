/**
 * The lines of an archive ⇄ values. Each line is a JSON object. The first line names the log. Its events follow, ascending,
 * and among them or after them the keys of its batches; then the feeds from which retention has deleted events, the terms,
 * and the digests of segments. An event at or below the mark of its feed is deleted. The last line confirms the epoch and
 * marks the archive as complete.
 */
import { z } from 'zod';
import type { ArchivedEvent, KeyedBatch, PrunedFeed, SegmentDigest, Term } from '../../engines/archive.ts';
import { LastseenError, quote } from '../../errors.ts';
import { compact, memberSpan } from '../../json-text.ts';
import { MAX_NAME_CHARACTERS } from '../../log/event.ts';

/** Version 1 had no tags and no terms. */
export const FORMAT = 2;

const FORMATS = z.union([z.literal(1), z.literal(FORMAT)]);

export type ArchiveLine =
  | { readonly kind: 'log'; readonly epoch: string; readonly head: number; readonly taggedFrom: number }
  | { readonly kind: 'event'; readonly event: ArchivedEvent }
  | { readonly kind: 'feed'; readonly feed: PrunedFeed }
  | { readonly kind: 'batch'; readonly batch: KeyedBatch }
  | { readonly kind: 'term'; readonly term: Term }
  | { readonly kind: 'segment'; readonly segment: SegmentDigest }
  | {
      readonly kind: 'end';
      readonly events: number;
      readonly floor: number;
      readonly head: number;
      /** Missing in the first version. */
      readonly epoch: string | undefined;
    };

const Count = z.int().min(0);
const Position = z.int().min(1);
const Time = z.int();
const Name = z
  .string()
  .min(1)
  .max(2 * MAX_NAME_CHARACTERS);

const Epoch = z.string().regex(/^[0-9a-z]{8}$/);

const Lines = z.union([
  z.strictObject({
    lastseen_export: FORMATS,
    epoch: Epoch,
    head: Count,
    tagged_from: Position.optional(),
  }),
  z.strictObject({
    position: Position,
    tag: Position.optional(),
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
    pruned_tag: Count.default(0),
  }),
  z.strictObject({
    batch: z.string(),
    fingerprint: z.string(),
    first_position: Position,
    last_position: Count,
    tag: Count.default(0),
  }),
  z.strictObject({ term: Position, first_position: Position, opened_at: Time, node: z.string() }),
  z.strictObject({
    segment: Position,
    last_position: Position,
    events: Position,
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
    checked_at: Count,
  }),
  z.strictObject({
    end: z.literal(true),
    epoch: Epoch.optional(),
    events: Count,
    floor: Position,
    head: Count,
  }),
]);

export function encodeEvent(event: ArchivedEvent): string {
  const id = event.id === null ? '' : `"id":${JSON.stringify(event.id)},`;
  return (
    `{"position":${event.position},${event.tag === 0 ? '' : `"tag":${event.tag},`}"access_id":${JSON.stringify(event.accessId)},` +
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
    pruned_tag: feed.prunedTag,
  });
}

export function encodeBatch(batch: KeyedBatch): string {
  return encodeLine({
    batch: batch.key,
    fingerprint: batch.fingerprint,
    first_position: batch.firstPosition,
    last_position: batch.lastPosition,
    tag: batch.tag,
  });
}

export function encodeTerm({ term, firstPosition, openedAt, node }: Term): string {
  return encodeLine({ term, first_position: firstPosition, opened_at: openedAt, node });
}

export function encodeSegment(segment: SegmentDigest): string {
  return encodeLine({
    segment: segment.firstPosition,
    last_position: segment.lastPosition,
    events: segment.events,
    sha256: segment.sha256,
    checked_at: segment.checkedAt,
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
    // A log of the first version has no tags.
    const { epoch, head, tagged_from: taggedFrom = head + 1 } = value;
    return { kind: 'log', epoch, head, taggedFrom };
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
        prunedTag: value.pruned_tag,
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
        tag: value.tag,
      },
    };
  }
  if ('term' in value) {
    const { term, first_position: firstPosition, opened_at: openedAt, node } = value;
    return { kind: 'term', term: { term, firstPosition, openedAt, node } };
  }
  if ('segment' in value) {
    return {
      kind: 'segment',
      segment: {
        firstPosition: value.segment,
        lastPosition: value.last_position,
        events: value.events,
        sha256: value.sha256,
        checkedAt: value.checked_at,
      },
    };
  }
  if ('end' in value) {
    return {
      kind: 'end',
      events: value.events,
      floor: value.floor,
      head: value.head,
      epoch: value.epoch,
    };
  }
  const payload = memberSpan(text, text.indexOf('{'), 'payload');
  if (payload === undefined) {
    throw lineError(number, 'has no payload');
  }
  return {
    kind: 'event',
    event: {
      position: value.position,
      tag: value.tag ?? 0,
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
