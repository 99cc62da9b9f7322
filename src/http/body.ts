/** Reads the body of a request with a size limit, and rejects text that is not UTF-8. */
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { LastseenError, quote } from '../errors.ts';
import { isJsonObject } from '../json-text.ts';

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
 * Reads the body as text.
 * @throws ERR_TOO_LARGE, or ERR_BODY_MALFORMED if the body is incomplete or not UTF-8
 */
export function readText(request: IncomingMessage, maxBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const tooLarge = (): LastseenError =>
      new LastseenError('ERR_TOO_LARGE', `the body must have at most ${maxBytes} bytes`);
    if (Number(request.headers['content-length']) > maxBytes) {
      reject(tooLarge());
      return;
    }
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxBytes) {
        request.pause();
        reject(tooLarge());
        return;
      }
      chunks.push(chunk);
    });
    request.on('end', () => {
      const body = chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks);
      if (isUtf8(body)) {
        resolve(body.toString('utf8'));
      } else {
        reject(new LastseenError('ERR_BODY_MALFORMED', 'the body must be UTF-8'));
      }
    });
    const rejectCutOff = (): void => {
      reject(
        new LastseenError(
          'ERR_BODY_MALFORMED',
          'the body is incomplete: the connection closed before its end',
        ),
      );
    };
    request.on('aborted', rejectCutOff);
    request.on('error', rejectCutOff);
  });
}

/**
 * Reads the body as a JSON object.
 * @throws ERR_BODY_MALFORMED, ERR_TOO_LARGE, ERR_REQUEST_INVALID
 */
export async function readJsonObject(
  request: IncomingMessage,
  maxBytes: number,
): Promise<Record<string, unknown>> {
  const value = parseJson(await readText(request, maxBytes));
  if (!isJsonObject(value)) {
    throw new LastseenError('ERR_REQUEST_INVALID', `the body must be a JSON object, got ${quote(value)}`, {
      faults: [{ pointer: '', detail: `must be an object, got ${quote(value)}` }],
    });
  }
  return value;
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
