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

export interface PushAnswer {
  readonly status: number;
  readonly text: string;
  /** If the status is 200: one receipt for each event, in the order sent. */
  readonly receipts: readonly Receipt[];
  readonly retryAfterSeconds: number;
}

export interface PushRequestOptions {
  /** Base URL of the server. */
  readonly url: string;
  readonly tokens: Tokens;
  readonly fetch: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
  readonly timers: Timers;
  readonly timeoutMs: number;
}

/**
 * Sends the JSON texts of a batch. Resolves to an ERR_UNREACHABLE when nobody knows whether the server has appended the
 * events: it did not answer in time, or the answer is not one of a lastseen server.
 */
export type PushRequest = (texts: readonly string[]) => Promise<PushAnswer | ClientError>;

export function createPushRequest(options: PushRequestOptions): PushRequest {
  const { tokens, timers, timeoutMs } = options;
  const url = `${options.url.replace(/\/+$/, '')}/push_events`;
  return async (texts) => {
    const timeout = createTimeoutSignal({ timers, ms: timeoutMs });
    try {
      const token = await tokens.get();
      const request = options.fetch ?? fetch;
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
      const receipts = response.status === 200 ? parseReceipts(text, texts.length) : [];
      if (receipts === undefined) {
        return new ClientError('ERR_UNREACHABLE', 'the answer is not from a lastseen server');
      }
      const retryAfterSeconds = Number(response.headers.get('Retry-After') ?? 0) || 0;
      return { status: response.status, text, receipts, retryAfterSeconds };
    } catch (error) {
      return new ClientError('ERR_UNREACHABLE', 'the server could not be reached', { cause: error });
    } finally {
      timeout.dispose();
    }
  };
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
export function parseProblem(answer: PushAnswer): ClientError {
  let detail = `the server answered ${answer.status}`;
  let serverCode: string | undefined;
  try {
    const problem = JSON.parse(answer.text) as { detail?: unknown; code?: unknown };
    if (typeof problem.detail === 'string') {
      detail = problem.detail;
    }
    if (typeof problem.code === 'string') {
      serverCode = problem.code;
    }
  } catch {
    // Not the server's own answer: the status is all that is known.
  }
  return new ClientError('ERR_REFUSED', detail, {
    status: answer.status,
    ...(serverCode === undefined ? {} : { serverCode }),
  });
}
