/** Where the SDK has its tokens from. */
import { ClientError } from '../errors.ts';
import type { TokenCache } from './token-cache.ts';

/** The token, how to get it, or a token cache, which is told when its token is refused. */
export type TokenSource =
  string | (() => string | Promise<string>) | Pick<TokenCache, 'token' | 'invalidate'>;

/** A source that has not answered by then has no token now. */
const TOKEN_MS = 60_000;

export interface Tokens {
  /** @throws ERR_TOKEN_UNAVAILABLE when none can be had now; another ClientError of the source as it is */
  get(): Promise<string | undefined>;
  /** The last token was refused (401). True if another may be had. */
  refused(): boolean;
}

export function createTokens(source: TokenSource | undefined): Tokens {
  let lastToken: string | undefined;
  return {
    async get() {
      if (source === undefined || typeof source === 'string') {
        return source;
      }
      try {
        lastToken = await inTime(Promise.resolve(typeof source === 'function' ? source() : source.token()));
        return lastToken;
      } catch (error) {
        if (error instanceof ClientError && error.code !== 'ERR_TOKEN_REQUEST') {
          throw error;
        }
        throw new ClientError('ERR_TOKEN_UNAVAILABLE', 'no token can be had now', { cause: error });
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

function inTime(token: Promise<string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      reject(new ClientError('ERR_TOKEN_UNAVAILABLE', 'no token has come in time'));
    }, TOKEN_MS);
    void token.then(resolve, reject).finally(() => {
      clearTimeout(late);
    });
  });
}
