/** The server's HTTP API as the console asks it. The token lives in this closure and nowhere else. */
import { ApiError, errorOf } from './answer.ts';

export interface Api {
  /** Base URL of the server. */
  readonly url: string;
  /** For the SDK, which asks by itself; `undefined` where none is needed. */
  readonly token: string | undefined;
  /** The text of the answer. @throws ApiError */
  text(method: string, path: string, request?: ApiRequest): Promise<string>;
  /** The answer as a value; `null` when it is empty. @throws ApiError */
  json(method: string, path: string, request?: ApiRequest): Promise<unknown>;
}

export interface ApiRequest {
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal;
}

/** An answer that has not come by then will not come. */
const TIMEOUT_MS = 120_000;

export const JSON_API = 'application/vnd.api+json';

export function createApi(url: string, token: string | undefined): Api {
  async function text(method: string, path: string, request: ApiRequest = {}): Promise<string> {
    const { body, contentType = 'application/json', accept = '*/*', signal } = request;
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    let response: Response;
    try {
      response = await fetch(url + path, {
        method,
        headers: {
          Accept: accept,
          ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
          ...(body === undefined ? {} : { 'Content-Type': contentType }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
        credentials: 'omit',
        cache: 'no-store',
      });
    } catch (error) {
      if (signal?.aborted === true) {
        throw error;
      }
      throw new ApiError(0, 'the server cannot be reached');
    }
    const answer = await response.text();
    if (!response.ok) {
      throw errorOf(response.status, answer);
    }
    return answer;
  }

  return {
    url,
    token,
    text,
    async json(method, path, request) {
      const answer = await text(method, path, request);
      return answer === '' ? null : (JSON.parse(answer) as unknown);
    },
  };
}
