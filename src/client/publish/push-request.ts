/** One request to `POST /push_events`, and what its answer means for the batch. */
import type { Timers } from '../../runtime.ts';
import { ClientError } from '../errors.ts';
import { parseRefusal } from '../refusal.ts';
import { createTimeoutSignal } from '../timeout-signal.ts';
import type { Tokens } from '../tokens/token-source.ts';

export interface Receipt {
  readonly version: number;
  readonly cursor: string;
  readonly duplicate: boolean;
}

/**
 * What is known about events that are not known to be appended (G14). `not-appended`: they are not in the log and do not
 * appear there later. `unknown`: only a repetition with the same ids tells.
 */
export type Failure = 'not-appended' | 'unknown';

export type PushAnswer =
  | {
      readonly outcome: 'appended';
      /** One for each event, in the order sent. */
      readonly receipts: readonly Receipt[];
    }
  | {
      readonly outcome: Failure;
      /** HTTP status; 0 if there was no answer, or none of a lastseen server. */
      readonly status: number;
      readonly error: ClientError;
      readonly retryAfterSeconds: number;
    };

export interface PushRequestOptions {
  /** Base URL of the server. */
  readonly url: string;
  readonly tokens: Tokens;
  readonly fetch: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
  readonly timers: Timers;
  readonly timeoutMs: number;
}

/** Sends the JSON texts of a batch. Never rejects. */
export type PushRequest = (texts: readonly string[]) => Promise<PushAnswer>;

export function createPushRequest(options: PushRequestOptions): PushRequest {
  const { tokens, timers, timeoutMs } = options;
  const url = `${options.url.replace(/\/+$/, '')}/push_events`;
  return async (texts) => {
    const timeout = createTimeoutSignal({ timers, ms: timeoutMs });
    let wasSent = false;
    try {
      const token = await tokens.get();
      const request = options.fetch ?? fetch;
      wasSent = true;
      const response = await request(url, {
        method: 'POST',
        headers: {
          'Content-Type': 'application/json',
          Prefer: 'return=representation',
          ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
        },
        body: `[${texts.join(',')}]`,
        signal: timeout.signal,
      });
      const text = await response.text();
      if (response.status !== 200) {
        return refusal(response, text);
      }
      const receipts = parseReceipts(text, texts.length);
      return receipts === undefined
        ? unanswered('unknown', 'the answer is not from a lastseen server')
        : { outcome: 'appended', receipts };
    } catch (cause) {
      return wasSent
        ? unanswered('unknown', 'the server could not be reached', cause)
        : unanswered('not-appended', 'no token is available now', cause);
    } finally {
      timeout.dispose();
    }
  };
}

function unanswered(outcome: Failure, message: string, cause?: unknown): PushAnswer {
  const error = new ClientError('ERR_UNREACHABLE', message, { cause });
  return { outcome, status: 0, error, retryAfterSeconds: 0 };
}

/** `undefined` when the text is not an answer of the server: a proxy or a sign-in page may have sent it. */
function parseReceipts(text: string, count: number): Receipt[] | undefined {
  try {
    const { events } = JSON.parse(text) as { events: Receipt[] };
    if (events.length !== count) {
      return undefined;
    }
    return events.map(({ version, cursor, duplicate }) => ({ version, cursor, duplicate }));
  } catch {
    return undefined;
  }
}

/**
 * A refusal of the server says that nothing was appended, 500 and 504 excepted. An answer without a code is not from the
 * server: something in between may have forwarded the request.
 */
function refusal({ status, headers }: Response, text: string): PushAnswer {
  const error = parseRefusal(text, `the server answered ${status}`, { status });
  const isKnown = error.serverCode !== undefined && (status < 500 || status === 503);
  return {
    outcome: isKnown ? 'not-appended' : 'unknown',
    status,
    error,
    retryAfterSeconds: Number(headers.get('Retry-After') ?? 0) || 0,
  };
}
