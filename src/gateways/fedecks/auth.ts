/** The header `x-fedecks-auth` → what a device says of itself. Pure; the checks stand in the order of the protocol. */
import { decode } from './etf/decode.ts';
import type { Term } from './etf/term.ts';
import { DeviceRefusal } from './refusal.ts';

export interface DeviceAuth {
  readonly deviceId: string;
  /** `undefined` when there is none: `nil` is a token, and a wrong one. */
  readonly token: Term | undefined;
  /** The whole map, as far as its keys are text. */
  readonly credentials: ReadonlyMap<string, Term>;
}

/** A header has fewer bytes than this. */
const HEADER_BYTES = 1_024;

/**
 * Longest device id in bytes of UTF-8: with it the header that brings a token has 1,012 bytes, and `ID/up` is still an
 * access_id. Whoever logs in can come back.
 */
export const MAX_DEVICE_ID_BYTES = 253;

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

const ID_KEY = 'fedecks-device-id';
const TOKEN_KEY = 'fedecks-token';

/** @throws DeviceRefusal of type `invalid_auth_header` */
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
  // The text for all of it; a term without a value here is as good as unsafe.
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
