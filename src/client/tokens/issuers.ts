/** Issuers for the token cache: lastseen's token endpoint, and LINE's stateless and v2.1 channel access tokens. */
import { ClientError } from '../errors.ts';
import type { IssuedToken } from './token-cache.ts';

type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface LastseenIssuerOptions {
  /** Base URL of the server. */
  readonly url: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Scopes, separated by spaces. Default: every scope of the client. */
  readonly scope?: string;
  /** Default: the global `fetch`. */
  readonly fetch?: Fetch;
}

/**
 * An issuer that sends client credentials to `POST /oauth/token` of a lastseen server (RFC 6749 §4.4).
 * @throws (when called) ERR_TOKEN_REQUEST if the server refuses, or what `fetch` throws
 */
export function lastseenIssuer(options: LastseenIssuerOptions): () => Promise<IssuedToken> {
  const { url, clientId, clientSecret, scope } = options;
  const basic = btoa(`${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`);
  return () =>
    requestToken(`${url.replace(/\/+$/, '')}/oauth/token`, {
      form: { grant_type: 'client_credentials', ...(scope === undefined ? {} : { scope }) },
      headers: { Authorization: `Basic ${basic}` },
      fetch: options.fetch,
    });
}

/** LINE's API, also the audience of an assertion. */
export const LINE_URL = 'https://api.line.me';
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

export interface LineOptions {
  /** Default: https://api.line.me */
  readonly url?: string;
  /** Default: the global `fetch`. */
  readonly fetch?: Fetch;
}

export type LineCredentials =
  | { readonly channelId: string; readonly channelSecret: string }
  /** Makes a new assertion for each request, for example with `lineAssertion`. */
  | { readonly assertion: () => Promise<string> };

/**
 * An issuer of LINE's stateless channel access tokens, which expire after about 15 minutes: `POST /oauth2/v3/token`.
 * @throws (when called) ERR_TOKEN_REQUEST if LINE refuses, or what `fetch` throws
 */
export function lineStatelessIssuer(options: LineOptions & LineCredentials): () => Promise<IssuedToken> {
  return async () => {
    const fields: Record<string, string> =
      'assertion' in options
        ? { client_assertion_type: ASSERTION_TYPE, client_assertion: await options.assertion() }
        : { client_id: options.channelId, client_secret: options.channelSecret };
    const form = { grant_type: 'client_credentials', ...fields };
    return requestToken(`${options.url ?? LINE_URL}/oauth2/v3/token`, { form, fetch: options.fetch });
  };
}

/**
 * An issuer of LINE's channel access tokens v2.1, which are valid for up to 30 days: `POST /oauth2/v2.1/token`.
 * @throws (when called) ERR_TOKEN_REQUEST if LINE refuses, or what `fetch` throws
 */
export function lineIssuer(
  options: LineOptions & { readonly assertion: () => Promise<string> },
): () => Promise<IssuedToken> {
  return async () =>
    requestToken(`${options.url ?? LINE_URL}/oauth2/v2.1/token`, {
      form: {
        grant_type: 'client_credentials',
        client_assertion_type: ASSERTION_TYPE,
        client_assertion: await options.assertion(),
      },
      fetch: options.fetch,
    });
}

interface TokenRequest {
  readonly form: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly fetch: Fetch | undefined;
}

/** @throws ERR_TOKEN_REQUEST, which names the status only: the answer may contain a token */
async function requestToken(url: string, request: TokenRequest): Promise<IssuedToken> {
  // The `fetch` of a browser throws when it is called as a method of another object.
  const send = request.fetch ?? fetch;
  const response = await send(url, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-www-form-urlencoded',
      Accept: 'application/json',
      ...request.headers,
    },
    body: new URLSearchParams(request.form).toString(),
  });
  if (!response.ok) {
    throw new ClientError('ERR_TOKEN_REQUEST', `the token endpoint answered ${response.status}`);
  }
  try {
    return (await response.json()) as IssuedToken;
  } catch {
    throw new ClientError('ERR_TOKEN_REQUEST', 'the answer of the token endpoint is not JSON');
  }
}
