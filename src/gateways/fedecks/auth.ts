/** Decodes the header `x-fedecks-auth`. The checks follow the order of the protocol. */
import { decode } from './etf/decode.ts';
import type { Term } from './etf/term.ts';
import { DeviceRefusal } from './refusal.ts';

/** The decoded header. */
export interface DeviceAuth {
  readonly deviceId: string;
  /** The token; `undefined` if the header contains none. `nil` counts as a token, and is invalid. */
  readonly token: Term | undefined;
  /** The entries of the map with text keys. */
  readonly credentials: ReadonlyMap<string, Term>;
}

/** Exclusive upper bound of the bytes of the header. */
const HEADER_BYTES = 1_024;

/**
 * Maximum length of a device id in bytes of UTF-8. With this length the header of a reconnect has 1,012
 * bytes, and `ID/up` is a valid access_id. A device that can log in can therefore reconnect.
 */
export const MAX_DEVICE_ID_BYTES = 253;

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

const ID_KEY = 'fedecks-device-id';
const TOKEN_KEY = 'fedecks-token';

/**
 * Decodes the header.
 * @throws DeviceRefusal of type `invalid_auth_header`
 */
export function readAuth(header: string | undefined): DeviceAuth {
  if (header === undefined) {
    throw invalid('missing');
  }
  if (header.length >= HEADER_BYTES) {
    throw invalid('too long');
  }
  if (!BASE64.test(header)) {
    throw invalid('not base64');
  }
  const decoded = decode(Buffer.from(header, 'base64'));
  // The protocol has one text for every decode error. A term without a value here is reported like an unsafe
  // term.
  if (!decoded.ok) {
    throw invalid('encoded binary auth was invalid or unsafe');
  }
  const map = decoded.term;
  if (!(map instanceof Map)) {
    throw invalid('not a map');
  }
  const deviceId = map.get(ID_KEY);
  if (typeof deviceId !== 'string' || deviceId === '') {
    throw invalid('no device id');
  }
  if (Buffer.byteLength(deviceId) > MAX_DEVICE_ID_BYTES) {
    throw invalid('too long');
  }
  const credentials = new Map<string, Term>();
  for (const [key, value] of map) {
    if (typeof key === 'string') {
      credentials.set(key, value);
    }
  }
  return { deviceId, token: map.get(TOKEN_KEY), credentials };
}

function invalid(info: string): DeviceRefusal {
  return new DeviceRefusal('invalid_auth_header', { deviceId: null, info });
}
