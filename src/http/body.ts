/** The media type of a body, and its JSON. `bodies.ts` receives the bytes. */
import type { IncomingMessage } from 'node:http';
import { LastseenError, quote } from '../errors.ts';

/** Returns the media type of a request in lower case, without parameters; empty if the request has none. */
export function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/**
 * Returns the media type of the body.
 * @throws ERR_MEDIA_TYPE unless it is one of `accepted`, in UTF-8 and without a content encoding
 */
export function requireMediaType(request: IncomingMessage, accepted: readonly string[]): string {
  const type = mediaType(request);
  const charset = /;\s*charset\s*=\s*"?([^";\s]+)/i
    .exec(request.headers['content-type'] ?? '')?.[1]
    ?.toLowerCase();
  const encoding = request.headers['content-encoding'];
  if (!accepted.includes(type)) {
    throw new LastseenError(
      'ERR_MEDIA_TYPE',
      `Content-Type must be ${accepted.join(' or ')}, got ${quote(type)}`,
    );
  }
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8') {
    throw new LastseenError('ERR_MEDIA_TYPE', `the charset of the body must be utf-8, got ${quote(charset)}`);
  }
  if (encoding !== undefined && encoding !== 'identity') {
    throw new LastseenError('ERR_MEDIA_TYPE', `Content-Encoding must be identity, got ${quote(encoding)}`);
  }
  return type;
}

/**
 * Parses strict JSON (RFC 8259).
 * @throws ERR_BODY_MALFORMED
 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new LastseenError('ERR_BODY_MALFORMED', `the body must be JSON: ${reason.slice(0, 120)}`);
  }
}
