/** Where the SDK gets its tokens. */
import { type Timers, withTimeout } from '../../runtime.ts';
import { ClientError } from '../errors.ts';
import type { TokenCache } from './token-cache.ts';

/**
 * A token, a function that returns one, or a token cache. When the server refuses its token, the SDK calls
 * `invalidate` on a cache and calls a function again.
 */
export type TokenSource =
  string | (() => string | Promise<string>) | Pick<TokenCache, 'token' | 'invalidate'>;

/** The SDK waits this long for a source. */
const TOKEN_MS = 60_000;

export interface Tokens {
  /** @throws ERR_TOKEN_UNAVAILABLE when the source has no token now; any other ClientError of the source unchanged */
  get(): Promise<string | undefined>;
  /** The server has refused the last token (401). Returns true if the source may give another. */
  refused(): boolean;
}

export function createTokens(source: TokenSource | undefined, timers: Timers): Tokens {
  let lastToken: string | undefined;
  return {
    async get() {
      if (source === undefined || typeof source === 'string') {
        return source;
      }
      try {
        lastToken = await withTimeout(
          Promise.resolve(typeof source === 'function' ? source() : source.token()),
          {
            timers,
            ms: TOKEN_MS,
            onTimeout: () =>
              new ClientError(
                'ERR_TOKEN_UNAVAILABLE',
                `the token source did not answer within ${TOKEN_MS / 1_000} s`,
              ),
          },
        );
        return lastToken;
      } catch (error) {
        if (error instanceof ClientError && error.code !== 'ERR_TOKEN_REQUEST') {
          throw error;
        }
        throw new ClientError('ERR_TOKEN_UNAVAILABLE', 'no token is available now', { cause: error });
      }
    },
    refused() {
      if (source === undefined || typeof source === 'string') {
        return false;
      }
      if (typeof source === 'object') {
        source.invalidate(lastToken);
      }
      return true;
    },
  };
}
