/** What a client says when it joins, and of itself. Pure. */
import { LastseenError, quote } from '../../errors.ts';
import { isJsonObject } from '../../json-text.ts';
import { type Payload, valueOf } from './codec.ts';
import type { Meta } from './presence.ts';

/** Bytes of what a client says of itself in presence. */
const MAX_META_BYTES = 1_024;

/** What a join may say. `meta` is what is shown in presence, `undefined` for not at all. @throws ERR_REQUEST_INVALID */
export function decodeJoin(payload: Payload | undefined): { after: string; meta: Meta | undefined } {
  const value = valueOf(payload);
  if (value === undefined) {
    throw new LastseenError('ERR_REQUEST_INVALID', 'the payload of a join must be an object');
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

/** What is shown in presence. @throws ERR_REQUEST_INVALID */
export function decodeMeta(value: unknown): Meta {
  if (isJsonObject(value) && Buffer.byteLength(JSON.stringify(value)) <= MAX_META_BYTES) {
    return value;
  }
  throw new LastseenError(
    'ERR_REQUEST_INVALID',
    `what is shown in presence must be an object of at most ${MAX_META_BYTES} bytes, got ${quote(value)}`,
  );
}
