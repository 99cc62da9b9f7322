/**
 * An access token that is always ready: requested at once, refreshed before it expires, and served from memory to any
 * number of callers. While refreshing fails, the cache serves the old token until it expires, and never after. No error
 * and no log line of this module contains a token.
 */
import { type Cancel, MAX_TIMER_MS, type Runtime, withTimeout } from '../../runtime.ts';
import { ClientError } from '../errors.ts';

/** What an issuer resolves to (RFC 6749 §5.1). */
export interface IssuedToken {
  readonly access_token: string;
  /** Seconds until the token expires. */
  readonly expires_in: number;
}

export interface TokenCacheOptions {
  /** Requests a new token. The cache makes one call at a time. */
  readonly issue: () => Promise<IssuedToken>;
  /** Seconds before expiry at which the cache refreshes. Default 600; at most two thirds of the token's lifetime. */
  readonly refreshBeforeSeconds?: number;
  /**
   * Seconds to wait after a first failure. Each further failure doubles the longest wait, with jitter, up to 600.
   * Default 30.
   */
  readonly retryAfterSeconds?: number;
  /** Seconds after which a call of `issue` counts as failed. Default 30. */
  readonly issueTimeoutSeconds?: number;
  /** Registers the cache for `tokenCache(name)` until it is closed. */
  readonly name?: string;
  /** Called at each failure to get a token. */
  readonly onError?: (error: Error) => void;
}

export interface TokenCache {
  /**
   * Resolves to a valid token: at once if the cache has one, otherwise when the running request is answered.
   * @throws ERR_TOKEN_UNAVAILABLE before the first success, when the last token has expired, and after `close`
   */
  token(): Promise<string>;
  /**
   * The server has refused the token (401): the cache requests a new one. If `token` is given and is not the current
   * token, the cache does nothing.
   */
  invalidate(token?: string): void;
  /** Stops refreshing. */
  close(): void;
}

const MIN_DELAY_SECONDS = 1;
const MAX_RETRY_SECONDS = 600;

const cachesByName = new Map<string, TokenCache>();

/** The token cache with this name. @throws ERR_TOKEN_UNAVAILABLE if there is none */
export function tokenCache(name: string): TokenCache {
  const cache = cachesByName.get(name);
  if (cache !== undefined) {
    return cache;
  }
  throw new ClientError('ERR_TOKEN_UNAVAILABLE', `there is no token cache named ${JSON.stringify(name)}`);
}

/** A token cache on a given runtime: `createTokenCache` of `entry.ts` says what callers get. */
export function createTokenCacheWith(
  options: TokenCacheOptions,
  { clock, timers, random }: Runtime,
): TokenCache {
  const { issue, name, onError } = options;
  const refreshBefore = requireSeconds('refreshBeforeSeconds', options.refreshBeforeSeconds ?? 600, 0);
  const retryAfter = requireSeconds('retryAfterSeconds', options.retryAfterSeconds ?? 30, 0.001);
  const timeout = requireSeconds('issueTimeoutSeconds', options.issueTimeoutSeconds ?? 30, 0.001);
  if (name !== undefined && cachesByName.has(name)) {
    throw new Error(`a token cache named ${JSON.stringify(name)} already exists`);
  }

  let current: { readonly token: string; readonly expiresAt: number } | undefined;
  let running: Promise<void> | undefined;
  let cancelTimer: Cancel = () => undefined;
  let failures = 0;
  let lastError: Error | undefined;
  let isClosed = false;

  /** All callers share one request. */
  function refresh(): Promise<void> {
    cancelTimer();
    running ??= requestToken().finally(() => {
      running = undefined;
    });
    return running;
  }

  async function requestToken(): Promise<void> {
    const requestedAt = clock.now();
    try {
      // Called inside a promise: an issuer that throws has failed like one that rejects.
      const answer = await withTimeout(Promise.resolve().then(issue), {
        timers,
        ms: timeout * 1_000,
        onTimeout: () =>
          new ClientError('ERR_TOKEN_REQUEST', `the issuer did not answer within ${timeout} s`),
      });
      const issued = parseIssuedToken(answer);
      failures = 0;
      lastError = undefined;
      current = { token: issued.access_token, expiresAt: requestedAt + issued.expires_in * 1_000 };
      // A token with a short lifetime must not lead to requests without a pause.
      scheduleRefresh(Math.max(issued.expires_in - refreshBefore, issued.expires_in / 3, MIN_DELAY_SECONDS));
    } catch (error) {
      failures += 1;
      lastError = error instanceof Error ? error : new Error('the issuer threw a value that is not an Error');
      scheduleRefresh(retryDelaySeconds());
      reportError(lastError);
    }
  }

  function retryDelaySeconds(): number {
    if (failures === 1) {
      return retryAfter;
    }
    const longest = Math.max(retryAfter, Math.min(MAX_RETRY_SECONDS, retryAfter * 2 ** (failures - 1)));
    return retryAfter + random.fraction() * (longest - retryAfter);
  }

  function scheduleRefresh(delaySeconds: number): void {
    if (isClosed) {
      return;
    }
    const refreshAt = clock.now() + delaySeconds * 1_000;
    const wait = (): void => {
      cancelTimer();
      const leftMs = refreshAt - clock.now();
      const next = leftMs > MAX_TIMER_MS ? wait : (): void => void refresh();
      // The timer does not keep a process running that has nothing else to do.
      cancelTimer = timers.after(Math.min(Math.max(leftMs, 0), MAX_TIMER_MS), next, { isBackground: true });
    };
    wait();
  }

  function reportError(error: Error): void {
    try {
      onError?.(error);
    } catch {
      // An error of the callback must not stop the cache.
    }
  }

  function validToken(): string | undefined {
    return current !== undefined && clock.now() < current.expiresAt ? current.token : undefined;
  }

  const cache: TokenCache = {
    async token() {
      if (isClosed) {
        throw new ClientError('ERR_TOKEN_UNAVAILABLE', 'the token cache is closed');
      }
      if (validToken() === undefined && running !== undefined) {
        await running;
      }
      const token = validToken();
      if (token !== undefined) {
        return token;
      }
      const reason = lastError === undefined ? 'the last one has expired' : 'the issuer failed';
      throw new ClientError('ERR_TOKEN_UNAVAILABLE', `no valid token: ${reason}`, { cause: lastError });
    },
    invalidate(token) {
      if (isClosed || (token !== undefined && token !== current?.token)) {
        return;
      }
      current = undefined;
      void refresh();
    },
    close() {
      isClosed = true;
      cancelTimer();
      if (name !== undefined && cachesByName.get(name) === cache) {
        cachesByName.delete(name);
      }
    },
  };
  if (name !== undefined) {
    cachesByName.set(name, cache);
  }
  void refresh();
  return cache;
}

function requireSeconds(name: string, value: number, min: number): number {
  if (Number.isFinite(value) && value >= min) {
    return value;
  }
  throw new RangeError(`${name} must be a number of seconds, at least ${min}, got ${value}`);
}

/** The messages name what is wrong with the answer, and never repeat its values: they may be secrets. */
function parseIssuedToken(issued: unknown): IssuedToken {
  const { access_token: token, expires_in: expiresIn } = (issued ?? {}) as Partial<IssuedToken>;
  if (typeof token !== 'string' || token === '') {
    throw new ClientError('ERR_TOKEN_REQUEST', 'the answer of the issuer has no access_token');
  }
  if (typeof expiresIn !== 'number' || !Number.isFinite(expiresIn) || expiresIn <= 0) {
    throw new ClientError(
      'ERR_TOKEN_REQUEST',
      'the answer of the issuer has no expires_in, a number of seconds above 0',
    );
  }
  return { access_token: token, expires_in: expiresIn };
}
