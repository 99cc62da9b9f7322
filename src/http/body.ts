/** Reading a request's body: bounded before it is read, and only text that is really UTF-8. */
import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { LastseenError, quote } from '../errors.ts';
import { isJsonObject } from '../json-text.ts';

/** The media type of a request without its parameters, in lower case; empty if there is none. */
export function mediaType(request: IncomingMessage): string {
  return (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/** @throws ERR_MEDIA_TYPE unless the body is one of these types, in plain UTF-8. */
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
    throw new LastseenError('ERR_MEDIA_TYPE', `the body must be UTF-8, got charset ${quote(charset)}`);
  }
  if (encoding !== undefined && encoding !== 'identity') {
    throw new LastseenError(
      'ERR_MEDIA_TYPE',
      `the body must not be encoded, got Content-Encoding ${quote(encoding)}`,
    );
  }
  return type;
}

/** The body as text. @throws ERR_TOO_LARGE, ERR_BODY_MALFORMED when it is cut off or is no UTF-8 */
export function readText(request: IncomingMessage, maxBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const tooLarge = (): LastseenError =>
      new LastseenError('ERR_TOO_LARGE', `the body may have at most ${maxBytes} bytes`);
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
        reject(new LastseenError('ERR_BODY_MALFORMED', 'the body is not UTF-8'));
      }
    });
    const rejectCutOff = (): void => {
      reject(new LastseenError('ERR_BODY_MALFORMED', 'the body was cut off'));
    };
    request.on('aborted', rejectCutOff);
    request.on('error', rejectCutOff);
  });
}

/** The body as a JSON object. @throws ERR_BODY_MALFORMED, ERR_TOO_LARGE */
export async function readJsonObject(
  request: IncomingMessage,
  maxBytes: number,
): Promise<Record<string, unknown>> {
  const value = parseJson(await readText(request, maxBytes));
  if (!isJsonObject(value)) {
    throw new LastseenError('ERR_REQUEST_INVALID', 'the body must be a JSON object', {
      faults: [{ pointer: '', detail: `must be an object, got ${quote(value)}` }],
    });
  }
  return value;
}

/** Strict JSON (RFC 8259). @throws ERR_BODY_MALFORMED */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new LastseenError('ERR_BODY_MALFORMED', `the body is not JSON: ${reason.slice(0, 120)}`);
  }
}
