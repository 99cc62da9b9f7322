/** Queries of GET /events ⇄ values, and the two forms of its answer. Pure. */
import { z } from 'zod';
import { invalidField, quote } from '../../errors.ts';
import { createdAtFault, type Event, nameFault } from '../../log/event.ts';
import { eventJson } from '../../log/event-json.ts';
import type { Start } from '../../log/log.ts';

export interface EventsQuery {
  readonly accessId: string;
  readonly start: Start;
  readonly limit: number;
  readonly waitSeconds: number;
}

export const DEFAULT_LIMIT = 500;
export const MAX_LIMIT = 5_000;
export const MAX_WAIT_SECONDS = 60;

const integerText = (max: number, min: number): z.ZodType<number, string> =>
  z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number)
    .refine((value) => value >= min && value <= max)
    .meta({ type: 'integer', minimum: min, maximum: max });

/** The query as it may be written. */
export const Query = z.object({
  access_id: z.string(),
  after: z.string().optional(),
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
  access_id: 'must be given once',
  after: 'must be a cursor, "start" or "now"',
  timestamp: 'must be an integer',
  limit: `must be an integer from 1 to ${MAX_LIMIT}`,
  wait: `must be an integer from 0 to ${MAX_WAIT_SECONDS}`,
};

/** Without `after` and `timestamp` reading begins at the start. @throws ERR_REQUEST_INVALID naming the parameter */
export function decodeQuery(query: unknown, lastEventId: string | undefined): EventsQuery {
  const parsed = Query.safeParse(query);
  if (!parsed.success) {
    const name = String(parsed.error.issues[0]?.path[0]);
    throw invalidField(
      `/${name}`,
      `${RULE_BY_PARAMETER[name] ?? 'is not valid'}, got ${quote((query as Record<string, unknown>)[name])}`,
    );
  }
  const { access_id: accessId, after, timestamp, limit, wait } = parsed.data;
  const accessIdFault = nameFault(accessId);
  if (accessIdFault !== undefined) {
    throw invalidField('/access_id', accessIdFault);
  }
  if (timestamp !== undefined && after !== undefined) {
    throw invalidField('/timestamp', 'must not stand beside `after`');
  }
  const timestampFault = timestamp === undefined ? undefined : createdAtFault(timestamp);
  if (timestampFault !== undefined) {
    throw invalidField('/timestamp', timestampFault);
  }
  return {
    accessId,
    start: startOf(lastEventId ?? after, timestamp),
    limit: limit ?? DEFAULT_LIMIT,
    waitSeconds: wait ?? 0,
  };
}

function startOf(after: string | undefined, createdAt: number | undefined): Start {
  return after === undefined && createdAt !== undefined ? { createdAt } : { after: after ?? 'start' };
}

export interface PageAnswer {
  readonly accessId: string;
  readonly events: readonly Event[];
  /** The position after which the next page starts. */
  readonly position: number;
  readonly isCaughtUp: boolean;
}

export function encodePage(
  { accessId, events, position, isCaughtUp }: PageAnswer,
  cursor: (position: number) => string,
): string {
  const list = events.map((event) => eventJson(event, cursor)).join(',');
  return `{"access_id":${JSON.stringify(accessId)},"events":[${list}],"cursor":"${cursor(position)}","caught_up":${isCaughtUp}}`;
}

/** Records of an event stream (HTML Living Standard §9.2). A payload has no line break outside its strings. */
export function encodeRecords(events: readonly Event[], cursor: (position: number) => string): Buffer {
  return Buffer.from(
    events.map((event) => `id: ${cursor(event.position)}\ndata: ${eventJson(event, cursor)}\n\n`).join(''),
  );
}
