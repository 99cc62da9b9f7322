/** Decodes the payload of a join, and the metadata of a client in presence. */
import { LastseenError, quote } from '../../errors.ts';
import { isJsonObject } from '../../json-text.ts';
import { type Payload, valueOf } from './codec.ts';
import type { Meta } from './presence.ts';

/** Maximum bytes of the metadata in presence. */
const MAX_META_BYTES = 1_024;

/**
 * Decodes a join. `meta` is the metadata in presence; `undefined` if the client does not take part.
 * @throws ERR_REQUEST_INVALID
 */
export function decodeJoin(payload: Payload | undefined): { after: string; meta: Meta | undefined } {
  const value = valueOf(payload);
  if (value === undefined) {
    throw new LastseenError('ERR_REQUEST_INVALID', 'the payload of a join must be a JSON object');
  }
  const { after = 'now', presence = {} } = value;
  if (typeof after !== 'string') {
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      `\`after\` must be a cursor, "start" or "now", got ${quote(after)}`,
    );
  }
  return { after, meta: presence === false ? undefined : decodeMeta(presence) };
}

/**
 * Decodes the metadata in presence.
 * @throws ERR_REQUEST_INVALID
 */
export function decodeMeta(value: unknown): Meta {
  if (isJsonObject(value) && Buffer.byteLength(JSON.stringify(value)) <= MAX_META_BYTES) {
    return value;
  }
  throw new LastseenError(
    'ERR_REQUEST_INVALID',
    `presence must be an object of at most ${MAX_META_BYTES} bytes, got ${quote(value)}`,
  );
}
