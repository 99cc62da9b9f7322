/** `GET /events`, which streams, long polls and the search for the reason of a refusal use. */
import { ClientError } from '../errors.ts';
import { createTimeoutSignal } from '../timeout-signal.ts';
import { type ClientEvent, parseEvents } from './event.ts';
import { ConnectionLost, parseRefusal, type TransportOptions, unreadableAnswer } from './transport.ts';

export interface EventPage {
  readonly events: readonly ClientEvent[];
  /** Where the next page begins. */
  readonly cursor: string;
  readonly isCaughtUp: boolean;
}

export interface PageRequest {
  readonly accessId: string;
  /** A cursor, "start" or "now". */
  readonly after: string;
  readonly trail?: readonly string[] | undefined;
  /** The server waits this long for an event. */
  readonly waitSeconds: number;
  /** Default 500. */
  readonly maxEvents?: number;
}

/** @throws ConnectionLost for what a retry may mend, ClientError for everything else */
export async function fetchPage(options: TransportOptions, page: PageRequest): Promise<EventPage> {
  const { accessId, after, trail, waitSeconds, maxEvents = 500 } = page;
  const { timers, silenceMs } = options;
  const timeout = createTimeoutSignal({
    timers,
    ms: waitSeconds * 1_000 + silenceMs,
    parent: options.signal,
  });
  try {
    const response = await requestEvents(options, {
      accessId,
      after,
      trail,
      parameters: `&limit=${maxEvents}&wait=${waitSeconds}`,
      mediaType: 'application/json',
      signal: timeout.signal,
    });
    const text = await response.text().catch(() => {
      throw new ConnectionLost('the answer was truncated', { wasOpen: true });
    });
    return parsePage(text);
  } finally {
    timeout.dispose();
  }
}

function parsePage(text: string): EventPage {
  try {
    const { cursor, caught_up: isCaughtUp } = JSON.parse(text) as { cursor: unknown; caught_up: unknown };
    if (typeof cursor === 'string' && typeof isCaughtUp === 'boolean') {
      return { events: parseEvents(text), cursor, isCaughtUp };
    }
  } catch {
    // Not JSON: the throw below says so.
  }
  throw unreadableAnswer();
}

export interface EventRequest {
  readonly accessId: string;
  /** A cursor, "start" or "now". */
  readonly after: string;
  /** Older cursors of the client. */
  readonly trail?: readonly string[] | undefined;
  /** Appended to the query string as it is. */
  readonly parameters?: string;
  /** What the answer must be. */
  readonly mediaType: string;
  readonly signal: AbortSignal;
}

/** @throws ConnectionLost for what a retry may mend, ClientError for everything else */
export async function requestEvents(options: TransportOptions, request: EventRequest): Promise<Response> {
  const { accessId, after, trail = [], parameters = '', mediaType, signal } = request;
  const token = await options.token();
  const trailText = trail.length === 0 ? '' : `&trail=${encodeURIComponent(trail.join(','))}`;
  const query = `access_id=${encodeURIComponent(accessId)}&after=${encodeURIComponent(after)}${trailText}${parameters}`;
  let response: Response;
  try {
    response = await options.fetch(`${options.url}/events?${query}`, {
      headers: { Accept: mediaType, ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }) },
      signal,
    });
  } catch (error) {
    throw error instanceof ClientError
      ? error
      : new ConnectionLost('the server could not be reached', { wasOpen: false });
  }
  if (response.ok && response.headers.get('Content-Type')?.startsWith(mediaType) === true) {
    return response;
  }
  if (response.ok) {
    throw unreadableAnswer();
  }
  throw await refusal(response, accessId);
}

async function refusal(response: Response, accessId: string): Promise<Error> {
  const { status } = response;
  const text = await response.text().catch(() => '');
  const fallback = `the server answered ${status}`;
  if (status === 408 || status === 429 || status >= 500) {
    const retryAfterSeconds = Number(response.headers.get('Retry-After') ?? 0) || 0;
    return new ConnectionLost(fallback, { wasOpen: false, retryAfterSeconds });
  }
  return parseRefusal(text, fallback, { status, accessId });
}
