/** Signed assertions with which a LINE channel requests access tokens. */
import type { Clock } from '../../runtime.ts';
import { LINE_URL } from './issuers.ts';

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
  /** Key ID that LINE assigned when the public key was registered. */
  readonly kid: string;
  /** RSA private key: PKCS #8 in PEM, or a JWK. */
  readonly privateKey: string | PrivateJwk;
  /** Lifetime of the assertion. Default 30, at most 1,800. */
  readonly ttlSeconds?: number;
  /** Lifetime of the channel access token that LINE issues, at most 2,592,000. Tokens v2.1 only. */
  readonly tokenExpiresInSeconds?: number;
  /** Current time, seconds since 1970. Default: the system clock. */
  readonly nowSeconds?: number;
}

/** An assertion by a given clock: `lineAssertion` of `entry.ts` says what callers get. */
export async function lineAssertionWith(
  options: LineAssertionOptions,
  clock: Pick<Clock, 'now'>,
): Promise<string> {
  const { channelId, kid, privateKey, ttlSeconds = 30, tokenExpiresInSeconds } = options;
  requireRange('ttlSeconds', ttlSeconds, 1_800);
  if (tokenExpiresInSeconds !== undefined) {
    requireRange('tokenExpiresInSeconds', tokenExpiresInSeconds, 2_592_000);
  }
  const now = options.nowSeconds ?? Math.floor(clock.now() / 1_000);
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
  return Uint8Array.from(atob(body.replace(/\s/g, '')), (character) => character.charCodeAt(0));
}

function encodeUtf8(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

function base64url(bytes: Uint8Array): string {
  const text = Array.from(bytes, (byte) => String.fromCharCode(byte)).join('');
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}
