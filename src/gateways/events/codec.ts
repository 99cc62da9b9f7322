/** Decodes queries of GET /events, and encodes pages and event streams. */
import { z } from 'zod';
import { invalidField, quote } from '../../errors.ts';
import { cursorOf, trailFault } from '../../log/cursor.ts';
import { createdAtFault, type LogEvent, nameFault } from '../../log/event.ts';
import { eventJson } from '../../log/event-json.ts';
import type { Place } from '../../log/place.ts';
import type { Start } from '../../log/start.ts';

/** A decoded query. */
export interface EventsQuery {
  readonly accessId: string;
  readonly start: Start;
  readonly limit: number;
  readonly waitSeconds: number;
}

/** Default number of events in a page. */
export const DEFAULT_LIMIT = 500;
/** Maximum number of events in a page. */
export const MAX_LIMIT = 5_000;
/** Maximum duration of a long poll in seconds. */
export const MAX_WAIT_SECONDS = 60;

const integerText = (max: number, min: number): z.ZodType<number, string> =>
  z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number)
    .refine((value) => value >= min && value <= max)
    .meta({ type: 'integer', minimum: min, maximum: max });

/** The schema of the query. */
export const Query = z.object({
  access_id: z.string(),
  after: z.string().optional(),
  trail: z.string().optional(),
  timestamp: z
    .string()
    .regex(/^-?\d{1,16}$/)
    .transform(Number)
    .meta({ type: 'integer' })
    .optional(),
  limit: integerText(MAX_LIMIT, 1).optional(),
  wait: integerText(MAX_WAIT_SECONDS, 0).optional(),
});

const RULE_BY_PARAMETER: Readonly<Record<string, string>> = {
  access_id: 'must occur once',
  after: 'must be a cursor, "start" or "now"',
  trail: 'must be cursors, separated by commas',
  timestamp: 'must be an integer',
  limit: `must be an integer from 1 to ${MAX_LIMIT}`,
  wait: `must be an integer from 0 to ${MAX_WAIT_SECONDS}`,
};

/**
 * Decodes a query. Without `after` and `timestamp`, reading starts at the beginning.
 * @throws ERR_REQUEST_INVALID naming the parameter
 */
export function decodeQuery(query: unknown, lastEventId: string | undefined): EventsQuery {
  const parsed = Query.safeParse(query);
  if (!parsed.success) {
    const name = String(parsed.error.issues[0]?.path[0]);
    throw invalidField(
      `/${name}`,
      `${RULE_BY_PARAMETER[name] ?? 'is not valid'}, got ${quote((query as Record<string, unknown>)[name])}`,
    );
  }
  const { access_id: accessId, after, trail: trailText, timestamp, limit, wait } = parsed.data;
  const trail = trailText?.split(',');
  const accessIdFault = nameFault(accessId);
  if (accessIdFault !== undefined) {
    throw invalidField('/access_id', accessIdFault);
  }
  if (timestamp !== undefined && after !== undefined) {
    throw invalidField('/timestamp', 'must not be combined with `after`');
  }
  const fault = trail === undefined ? undefined : trailFault(trail);
  if (fault !== undefined) {
    throw invalidField('/trail', fault);
  }
  const timestampFault = timestamp === undefined ? undefined : createdAtFault(timestamp);
  if (timestampFault !== undefined) {
    throw invalidField('/timestamp', timestampFault);
  }
  return {
    accessId,
    start: startOf(lastEventId ?? after, { createdAt: timestamp, trail }),
    limit: limit ?? DEFAULT_LIMIT,
    waitSeconds: wait ?? 0,
  };
}

function startOf(
  after: string | undefined,
  {
    createdAt,
    trail,
  }: { readonly createdAt: number | undefined; readonly trail: readonly string[] | undefined },
): Start {
  return after === undefined && createdAt !== undefined
    ? { createdAt }
    : { after: after ?? 'start', ...(trail === undefined ? {} : { trail }) };
}

/** A page of events. */
export interface PageAnswer {
  readonly accessId: string;
  readonly events: readonly LogEvent[];
  /** The place after which the next page starts. */
  readonly place: Place;
  readonly isCaughtUp: boolean;
}

/** Encodes a page as JSON. */
export function encodePage({ accessId, events, place, isCaughtUp }: PageAnswer): string {
  const list = events.map(eventJson).join(',');
  return `{"access_id":${JSON.stringify(accessId)},"events":[${list}],"cursor":"${cursorOf(place)}","caught_up":${isCaughtUp}}`;
}

/**
 * Encodes events as records of an event stream (HTML Living Standard §9.2). A payload has no line break
 * outside its strings.
 */
export function encodeRecords(events: readonly LogEvent[]): Buffer {
  return Buffer.from(events.map((event) => `id: ${cursorOf(event)}\ndata: ${eventJson(event)}\n\n`).join(''));
}
