/** The server's HTTP API as the console asks it. The token lives in this closure and nowhere else. */

/** What the server said instead of an answer (RFC 9457, or JSON:API's form of it). */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly code: string | undefined;
  readonly faults: readonly string[];

  constructor(status: number, message: string, code?: string, faults: readonly string[] = []) {
    super(message);
    this.status = status;
    this.code = code;
    this.faults = faults;
  }
}

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
      if (signal?.aborted === true) throw error;
      throw new ApiError(0, 'the server cannot be reached');
    }
    const answer = await response.text();
    if (!response.ok) throw errorOf(response.status, answer);
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

interface ProblemText {
  readonly detail?: unknown;
  readonly title?: unknown;
  readonly code?: unknown;
  readonly errors?: unknown;
}

function errorOf(status: number, text: string): ApiError {
  let problem: ProblemText = {};
  try {
    const value = JSON.parse(text) as unknown;
    if (typeof value === 'object' && value !== null) problem = value;
  } catch {
    // Something in between has answered: its status says what there is to say.
  }
  const errors = Array.isArray(problem.errors) ? (problem.errors as ProblemText[]) : [];
  const main = problem.detail === undefined ? (errors[0] ?? problem) : problem;
  const message = textOf(main.detail) ?? textOf(main.title) ?? `the server answered ${status}`;
  const faults = errors.flatMap((error) => {
    const { pointer } = error as { pointer?: unknown };
    const detail = textOf(error.detail);
    return detail === undefined || detail === message ? [] : [`${textOf(pointer) ?? ''} ${detail}`.trim()];
  });
  return new ApiError(status, message, textOf(main.code), faults);
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

/** The members of an answer that should be a list of objects. @throws ApiError when it is none */
export function listOf(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'object' && item !== null))
    return value as readonly Readonly<Record<string, unknown>>[];
  throw new ApiError(0, 'the answer is not what this console expects: is the server of the same version?');
}

/** The members of an answer that should be an object. @throws ApiError when it is none */
export function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return listOf([value])[0] ?? {};
}
