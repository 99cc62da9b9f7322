/** Issuers for the token cache: our own token endpoint, and LINE's stateless and v2.1 channel access tokens. */
import { ClientError } from '../errors.ts';
import type { IssuedToken } from './token-cache.ts';

type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface LastseenIssuerOptions {
  /** Base URL of the server. */
  readonly url: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** Space-separated; default all that the client has. */
  readonly scope?: string;
  readonly fetch?: Fetch;
}

/** Client credentials at our own `POST /oauth/token` (RFC 6749 §4.4). */
export function lastseenIssuer(options: LastseenIssuerOptions): () => Promise<IssuedToken> {
  const { url, clientId, clientSecret, scope } = options;
  const basic = btoa(`${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`);
  return () =>
    requestToken(
      options.fetch,
      `${url.replace(/\/+$/, '')}/oauth/token`,
      { grant_type: 'client_credentials', ...(scope === undefined ? {} : { scope }) },
      { Authorization: `Basic ${basic}` },
    );
}

const LINE_URL = 'https://api.line.me';
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

export interface LineOptions {
  readonly url?: string;
  readonly fetch?: Fetch;
}

export type LineCredentials =
  | { readonly channelId: string; readonly channelSecret: string }
  /** Makes a new assertion for each request, e.g. with `lineAssertion`. */
  | { readonly assertion: () => Promise<string> };

/** LINE's stateless channel access tokens (about 15 minutes): `POST /oauth2/v3/token`. */
export function lineStatelessIssuer(options: LineOptions & LineCredentials): () => Promise<IssuedToken> {
  return async () => {
    const fields: Record<string, string> =
      'assertion' in options
        ? { client_assertion_type: ASSERTION_TYPE, client_assertion: await options.assertion() }
        : { client_id: options.channelId, client_secret: options.channelSecret };
    const form = { grant_type: 'client_credentials', ...fields };
    return requestToken(options.fetch, `${options.url ?? LINE_URL}/oauth2/v3/token`, form);
  };
}

/** LINE's channel access tokens v2.1 (up to 30 days): `POST /oauth2/v2.1/token`. */
export function lineIssuer(
  options: LineOptions & { readonly assertion: () => Promise<string> },
): () => Promise<IssuedToken> {
  return async () =>
    requestToken(options.fetch, `${options.url ?? LINE_URL}/oauth2/v2.1/token`, {
      grant_type: 'client_credentials',
      client_assertion_type: ASSERTION_TYPE,
      client_assertion: await options.assertion(),
    });
}

/** An RSA private key (RFC 7518 §6.3). */
export interface PrivateJwk {
  readonly kty: string;
  readonly n: string;
  readonly e: string;
  readonly d: string;
  readonly p?: string;
  readonly q?: string;
  readonly dp?: string;
  readonly dq?: string;
  readonly qi?: string;
}

export interface LineAssertionOptions {
  readonly channelId: string;
  /** Name of the key, as LINE gave it when the public key was registered. */
  readonly kid: string;
  /** RSA private key: PKCS #8 in PEM, or a JWK. */
  readonly privateKey: string | PrivateJwk;
  /** Default 30, at most 1,800. */
  readonly ttlSeconds?: number;
  /** v2.1 only: how long the channel access token shall hold, at most 2,592,000. */
  readonly tokenExpiresInSeconds?: number;
  /** Seconds since 1970; default the clock. */
  readonly nowSeconds?: number;
}

/** A signed assertion of the channel (RS256 by Web Crypto). @throws RangeError, or what Web Crypto says of the key */
export async function lineAssertion(options: LineAssertionOptions): Promise<string> {
  const { channelId, kid, privateKey, ttlSeconds = 30, tokenExpiresInSeconds } = options;
  requireRange('ttlSeconds', ttlSeconds, 1_800);
  if (tokenExpiresInSeconds !== undefined) {
    requireRange('tokenExpiresInSeconds', tokenExpiresInSeconds, 2_592_000);
  }
  const now = options.nowSeconds ?? Math.floor(Date.now() / 1_000);
  const header = { alg: 'RS256', typ: 'JWT', kid };
  const claims = {
    iss: channelId,
    sub: channelId,
    aud: `${LINE_URL}/`,
    exp: now + ttlSeconds,
    ...(tokenExpiresInSeconds === undefined ? {} : { token_exp: tokenExpiresInSeconds }),
  };
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  const key =
    typeof privateKey === 'string'
      ? await crypto.subtle.importKey('pkcs8', decodePem(privateKey), algorithm, false, ['sign'])
      : await crypto.subtle.importKey('jwk', privateKey, algorithm, false, ['sign']);
  const text = `${base64url(encodeUtf8(JSON.stringify(header)))}.${base64url(encodeUtf8(JSON.stringify(claims)))}`;
  const signature = await crypto.subtle.sign(algorithm.name, key, encodeUtf8(text));
  return `${text}.${base64url(new Uint8Array(signature))}`;
}

async function requestToken(
  fetchWith: Fetch | undefined,
  url: string,
  form: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>> = {},
): Promise<IssuedToken> {
  const request = fetchWith ?? fetch;
  const response = await request(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded', Accept: 'application/json', ...headers },
    body: new URLSearchParams(form).toString(),
  });
  // The answer may hold a token: only its status is told.
  if (!response.ok) {
    throw new ClientError('ERR_TOKEN_REQUEST', `the token endpoint answered ${response.status}`);
  }
  try {
    return (await response.json()) as IssuedToken;
  } catch {
    throw new ClientError('ERR_TOKEN_REQUEST', 'the token endpoint answered what is not JSON');
  }
}

function requireRange(name: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= max) {
    return;
  }
  throw new RangeError(`${name} must be an integer from 1 to ${max}, got ${value}`);
}

function decodePem(pem: string): Uint8Array<ArrayBuffer> {
  const body = /-----BEGIN PRIVATE KEY-----([\s\S]+?)-----END PRIVATE KEY-----/.exec(pem)?.[1];
  if (body === undefined) {
    throw new RangeError('privateKey must be PKCS #8 in PEM ("BEGIN PRIVATE KEY"), or a JWK');
  }
  return Uint8Array.from(atob(body.replace(/\s/g, '')), (letter) => letter.charCodeAt(0));
}

function encodeUtf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

function base64url(bytes: Uint8Array): string {
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}
