/**
 * An access token kept warm: fetched at once, refreshed before it ends, served from memory to any number of callers.
 * While refreshing fails the old token is served until it really ends, and never after. Nothing here logs or puts a
 * token into an error.
 */
import { ClientError } from '../errors.ts';

/** What an issuer resolves to (RFC 6749 §5.1). */
export interface IssuedToken {
  readonly access_token: string;
  /** Seconds that the token holds. */
  readonly expires_in: number;
}

export interface TokenCacheOptions {
  /** Asks for a new token. One call at a time. */
  readonly issue: () => Promise<IssuedToken>;
  /** Refresh so long before the token ends. Default 600; at most two thirds of what the token holds. */
  readonly refreshBeforeSeconds?: number;
  /** Pause after a first failure, doubled with jitter after each further one, up to ten minutes. Default 30. */
  readonly retryAfterSeconds?: number;
  /** An issuer that has not answered by then has failed. Default 30. */
  readonly issueTimeoutSeconds?: number;
  /** Makes the cache known to `tokenCache(name)` until it is closed. */
  readonly name?: string;
  /** Told of each failure to get a token. */
  readonly onError?: (error: Error) => void;
}

export interface TokenCache {
  /**
   * The token: at once while there is a valid one, else when the running request is answered.
   * @throws ERR_TOKEN_UNAVAILABLE before the first success, after the end of the last token, and when closed
   */
  token(): Promise<string>;
  /** The token was refused (401): gets another. With `token`, only if that is still the current one. */
  invalidate(token?: string): void;
  /** Stops refreshing. */
  close(): void;
}

const MIN_DELAY_SECONDS = 1;
const MAX_RETRY_SECONDS = 600;

/** Longest delay a timer takes, in milliseconds. */
const MAX_TIMER_MS = 2 ** 31 - 1;

const cachesByName = new Map<string, TokenCache>();

/** The cache of that name. @throws ERR_TOKEN_UNAVAILABLE if there is none */
export function tokenCache(name: string): TokenCache {
  const cache = cachesByName.get(name);
  if (cache !== undefined) {
    return cache;
  }
  throw new ClientError('ERR_TOKEN_UNAVAILABLE', `there is no token cache named ${JSON.stringify(name)}`);
}

/** @throws RangeError when a number of seconds is none; Error when the name is taken */
export function createTokenCache(options: TokenCacheOptions): TokenCache {
  const { issue, name, onError } = options;
  const refreshBefore = requireSeconds('refreshBeforeSeconds', options.refreshBeforeSeconds ?? 600, 0);
  const retryAfter = requireSeconds('retryAfterSeconds', options.retryAfterSeconds ?? 30, 0.001);
  const timeout = requireSeconds('issueTimeoutSeconds', options.issueTimeoutSeconds ?? 30, 0.001);
  if (name !== undefined && cachesByName.has(name)) {
    throw new Error(`a token cache named ${JSON.stringify(name)} exists already`);
  }

  let current: { readonly token: string; readonly endsAt: number } | undefined;
  let running: Promise<void> | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  let lastError: Error | undefined;
  let isClosed = false;

  /** One request for any number of callers. */
  function refresh(): Promise<void> {
    clearTimeout(timer);
    running ??= requestToken().finally(() => {
      running = undefined;
    });
    return running;
  }

  async function requestToken(): Promise<void> {
    const askedAt = Date.now();
    try {
      const issued = parseIssuedToken(await withTimeout(issue, timeout));
      failures = 0;
      lastError = undefined;
      current = { token: issued.access_token, endsAt: askedAt + issued.expires_in * 1_000 };
      // A token that holds no longer than that would otherwise be asked for without a pause.
      scheduleRefresh(Math.max(issued.expires_in - refreshBefore, issued.expires_in / 3, MIN_DELAY_SECONDS));
    } catch (error) {
      failures += 1;
      lastError = error instanceof Error ? error : new Error('the issuer threw what is no error');
      scheduleRefresh(retryDelay());
      reportError(lastError);
    }
  }

  function retryDelay(): number {
    if (failures === 1) {
      return retryAfter;
    }
    const longest = Math.max(retryAfter, Math.min(MAX_RETRY_SECONDS, retryAfter * 2 ** (failures - 1)));
    return retryAfter + Math.random() * (longest - retryAfter);
  }

  function scheduleRefresh(delaySeconds: number): void {
    if (isClosed) {
      return;
    }
    clearTimeout(timer);
    const at = Date.now() + delaySeconds * 1_000;
    const wait = (): void => {
      const left = at - Date.now();
      timer = setTimeout(
        left > MAX_TIMER_MS ? wait : () => void refresh(),
        Math.min(Math.max(left, 0), MAX_TIMER_MS),
      );
      // A process that has nothing else to do may end.
      if (canUnref(timer)) {
        timer.unref();
      }
    };
    wait();
  }

  function reportError(error: Error): void {
    try {
      onError?.(error);
    } catch {
      // What watches us cannot stop us.
    }
  }

  function validToken(): string | undefined {
    return current !== undefined && Date.now() < current.endsAt ? current.token : undefined;
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
      const reason = lastError === undefined ? 'the last one has ended' : 'the issuer fails';
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
      clearTimeout(timer);
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

/** Node's timers are objects, a browser's are numbers. */
function canUnref(timer: unknown): timer is { unref(): void } {
  return typeof timer === 'object' && timer !== null && 'unref' in timer;
}

function requireSeconds(name: string, value: number, min: number): number {
  if (Number.isFinite(value) && value >= min) {
    return value;
  }
  throw new RangeError(`${name} must be a number of seconds from ${min}, got ${value}`);
}

/** Says what is wrong with an answer, never what it was. */
function parseIssuedToken(issued: unknown): IssuedToken {
  const { access_token: token, expires_in: expiresIn } = (issued ?? {}) as Partial<IssuedToken>;
  if (typeof token !== 'string' || token === '') {
    throw new ClientError('ERR_TOKEN_REQUEST', 'the issuer gave no access_token');
  }
  if (typeof expiresIn !== 'number' || !Number.isFinite(expiresIn) || expiresIn <= 0) {
    throw new ClientError(
      'ERR_TOKEN_REQUEST',
      'the issuer gave no expires_in that is a number of seconds above 0',
    );
  }
  return { access_token: token, expires_in: expiresIn };
}

function withTimeout<T>(work: () => Promise<T>, limitSeconds: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new ClientError('ERR_TOKEN_REQUEST', `the issuer has not answered in ${limitSeconds} s`));
    }, limitSeconds * 1_000);
    // Called in a promise, so that an issuer that throws at once has failed like any other.
    Promise.resolve()
      .then(work)
      .then(resolve, reject)
      .finally(() => {
        clearTimeout(timer);
      });
  });
}
