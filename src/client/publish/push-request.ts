/** One request to `POST /push_events`, and what its answer means for the batch. */
import type { Timers } from '../../runtime.ts';
import { ClientError } from '../errors.ts';
import { createTimeoutSignal } from '../timeout-signal.ts';
import type { Tokens } from '../tokens/token-source.ts';

export interface Receipt {
  readonly version: number;
  readonly cursor: string;
  readonly duplicate: boolean;
}

/** What one request did to the log. `not-known`: the events may be in the log, or may still get there. */
export type RequestOutcome = 'appended' | 'not-appended' | 'not-known';

export type PushAnswer =
  | {
      readonly outcome: 'appended';
      /** One for each event, in the order sent. */
      readonly receipts: readonly Receipt[];
    }
  | {
      readonly outcome: 'not-appended' | 'not-known';
      readonly error: ClientError;
      /** The server asks to wait at least this long. */
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

/**
 * Sends the JSON texts of a batch. Its outcome is known only from an answer of the server itself: a proxy answers with
 * the same statuses and knows nothing of the log.
 */
export type PushRequest = (texts: readonly string[]) => Promise<PushAnswer>;

/** Codes of the server with which it does not say that nothing was appended. */
const OPEN_CODES: readonly (string | undefined)[] = [undefined, 'ERR_OUTCOME_UNKNOWN', 'ERR_INTERNAL'];

export function createPushRequest(options: PushRequestOptions): PushRequest {
  const { tokens, timers, timeoutMs } = options;
  const url = `${options.url.replace(/\/+$/, '')}/push_events`;
  return async (texts) => {
    const timeout = createTimeoutSignal({ timers, ms: timeoutMs });
    let isSent = false;
    try {
      const token = await tokens.get();
      const request = options.fetch ?? fetch;
      isSent = true;
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
        const error = parseProblem(text, response.status);
        return {
          outcome: OPEN_CODES.includes(error.serverCode) ? 'not-known' : 'not-appended',
          error,
          retryAfterSeconds: Number(response.headers.get('Retry-After') ?? 0) || 0,
        };
      }
      const receipts = parseReceipts(text, texts.length);
      return receipts === undefined
        ? unreachable('not-known', 'the answer is not from a lastseen server')
        : { outcome: 'appended', receipts };
    } catch (cause) {
      return unreachable(isSent ? 'not-known' : 'not-appended', 'the server could not be reached', cause);
    } finally {
      timeout.dispose();
    }
  };
}

function unreachable(outcome: 'not-appended' | 'not-known', message: string, cause?: unknown): PushAnswer {
  return { outcome, error: new ClientError('ERR_UNREACHABLE', message, { cause }), retryAfterSeconds: 0 };
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

/** The refusal of a batch as an ERR_REFUSED with the status and the code of the server. */
function parseProblem(text: string, status: number): ClientError {
  let problem: { readonly detail?: unknown; readonly code?: unknown } = {};
  try {
    problem = (JSON.parse(text) ?? {}) as typeof problem;
  } catch {
    // Not the server's own answer: the status is all that is known.
  }
  const { detail, code } = problem;
  return new ClientError(
    'ERR_REFUSED',
    typeof detail === 'string' ? detail : `the server answered ${status}`,
    {
      status,
      serverCode: typeof code === 'string' ? code : undefined,
    },
  );
}
