/**
 * Issues and opens device tokens. A token is a JWE (RFC 7516, direct encryption, A256GCM), opaque to the
 * device. It contains bytes and no claims, because the header has 1,023 bytes for token and device id: the 16
 * bytes of the UUID of the grant, 6 bytes of the expiry in seconds since 1970, and the device id.
 */
import { hkdfSync } from 'node:crypto';
import { compactDecrypt, CompactEncrypt } from 'jose';
import type { Clock } from '../../runtime.ts';
import type { Term } from './etf/term.ts';

/** Issues and opens tokens. */
export interface DeviceTokens {
  /** Issues a token. `grant` is a UUID. */
  issue(deviceId: string, grant: string): Promise<string>;
  /** Decrypts a token. */
  open(token: Term): Promise<OpenedToken>;
}

/** The content of a token. `isOwn` is false for a token of another server. */
export type OpenedToken =
  | { readonly isOwn: true; readonly isExpired: boolean; readonly deviceId: string; readonly grant: string }
  | { readonly isOwn: false };

/** The secret and the lifetime of tokens. */
export interface DeviceTokensOptions {
  readonly secret: () => Promise<string>;
  readonly salt: string;
  readonly expirySeconds: number;
  readonly clock: Clock;
}

const UUID_BYTES = 16;
const ID_START = UUID_BYTES + 6;
const ENCRYPTION = 'A256GCM';

/** Creates the tokens of one service. */
export function createDeviceTokens(options: DeviceTokensOptions): DeviceTokens {
  const { salt, expirySeconds, clock } = options;
  let derivedKey: Uint8Array | undefined;

  async function key(): Promise<Uint8Array> {
    derivedKey ??= new Uint8Array(
      hkdfSync('sha256', await options.secret(), salt, 'lastseen device tokens', 32),
    );
    return derivedKey;
  }

  return {
    async issue(deviceId, grant) {
      const id = Buffer.from(deviceId);
      const bytes = Buffer.alloc(ID_START + id.length);
      bytes.write(grant.replaceAll('-', ''), 0, UUID_BYTES, 'hex');
      bytes.writeUIntBE(Math.floor(clock.now() / 1_000) + expirySeconds, UUID_BYTES, 6);
      bytes.set(id, ID_START);
      return new CompactEncrypt(bytes)
        .setProtectedHeader({ alg: 'dir', enc: ENCRYPTION })
        .encrypt(await key());
    },
    async open(token) {
      if (typeof token !== 'string') {
        return { isOwn: false };
      }
      const bytes = await decrypt(token, await key());
      if (bytes === undefined || bytes.length <= ID_START) {
        return { isOwn: false };
      }
      const hex = bytes.toString('hex', 0, UUID_BYTES);
      return {
        isOwn: true,
        isExpired: bytes.readUIntBE(UUID_BYTES, 6) * 1_000 <= clock.now(),
        deviceId: bytes.toString('utf8', ID_START),
        grant: hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
      };
    },
  };
}

async function decrypt(token: string, key: Uint8Array): Promise<Buffer | undefined> {
  try {
    const { plaintext } = await compactDecrypt(token, key, {
      keyManagementAlgorithms: ['dir'],
      contentEncryptionAlgorithms: [ENCRYPTION],
    });
    return Buffer.from(plaintext);
  } catch {
    return undefined;
  }
}
