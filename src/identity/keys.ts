/** The keys that sign access tokens: Ed25519, kept in the database. A retired key verifies until its last token expires. */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { type CryptoKey, exportJWK, generateKeyPair, importJWK, type JWK } from 'jose';
import { LastseenError } from '../errors.ts';
import type { Random, Runtime } from '../runtime.ts';
import type { KeyStore, SigningKey } from './key-store.ts';
import { newSecret } from './secrets.ts';

export const ALGORITHM = 'EdDSA';

/** Longest life of a token. A retired key verifies for twice this time. */
export const MAX_TOKEN_SECONDS = 24 * 3_600;

/** The keys are read again when they are older. */
const RELOAD_MS = 60_000;

/** The same when a token names an unknown key. */
const MIN_RELOAD_MS = 1_000;

export interface Keys {
  /** The key that signs now. */
  signingKey(): Promise<{ readonly kid: string; readonly key: CryptoKey }>;
  /** The public key with this name, unless it was deleted or never existed. */
  verifyingKey(kid: string): Promise<CryptoKey | undefined>;
  /** All public keys, as a JSON Web Key Set (RFC 7517). */
  jwks(): Promise<{ readonly keys: readonly JWK[] }>;
  /** Makes a new key, which signs from now on, and returns its name. */
  rotate(): Promise<string>;
  /** A random secret with this name, made at its first use, the same on every node, and sealed like private keys. */
  secret(name: string): Promise<string>;
}

export interface KeysOptions {
  readonly keys: KeyStore;
  /** Seals (encrypts) private keys in the database, if the operator has set it. */
  readonly keySecret: string | undefined;
  readonly runtime: Pick<Runtime, 'clock' | 'random'>;
}

export function createKeys({ keys: store, keySecret, runtime }: KeysOptions): Keys {
  const { clock, random } = runtime;
  let loadedKeys: SigningKey[] = [];
  let loadedAt = 0;
  const imported = new Map<string, CryptoKey>();

  async function load(maxAgeMs: number): Promise<void> {
    if (clock.now() - loadedAt < maxAgeMs) {
      return;
    }
    await store.deleteRetired(clock.now() - 2 * MAX_TOKEN_SECONDS * 1_000);
    loadedKeys = await store.list();
    if (loadedKeys.length === 0) {
      await store.addFirst(await makeKey('key-1'));
      loadedKeys = await store.list();
    }
    loadedAt = clock.now();
  }

  async function makeKey(kid: string): Promise<SigningKey> {
    const { publicKey, privateKey } = await generateKeyPair(ALGORITHM, { crv: 'Ed25519', extractable: true });
    const shared = { kid, alg: ALGORITHM, use: 'sig' };
    return {
      kid,
      publicJwk: JSON.stringify({ ...(await exportJWK(publicKey)), ...shared }),
      privateJwk: seal(JSON.stringify({ ...(await exportJWK(privateKey)), ...shared }), keySecret, random),
      createdAt: clock.now(),
      retiredAt: null,
    };
  }

  async function importKey(name: string, jwk: string): Promise<CryptoKey> {
    const cached = imported.get(name);
    if (cached !== undefined) {
      return cached;
    }
    const key = (await importJWK(JSON.parse(jwk) as JWK, ALGORITHM)) as CryptoKey;
    imported.set(name, key);
    return key;
  }

  return {
    async signingKey() {
      await load(RELOAD_MS);
      const current = loadedKeys.find((key) => key.retiredAt === null);
      if (current === undefined) {
        throw new Error('there is no signing key: run "lastseen keys rotate"');
      }
      return {
        kid: current.kid,
        key: await importKey(`private ${current.kid}`, unseal(current.privateJwk, keySecret)),
      };
    },
    async verifyingKey(kid) {
      await load(RELOAD_MS);
      if (!loadedKeys.some((key) => key.kid === kid)) {
        await load(MIN_RELOAD_MS);
      }
      const key = loadedKeys.find((loaded) => loaded.kid === kid);
      return key === undefined ? undefined : importKey(kid, key.publicJwk);
    },
    async jwks() {
      await load(MIN_RELOAD_MS);
      return { keys: loadedKeys.map((key) => JSON.parse(key.publicJwk) as JWK) };
    },
    async rotate() {
      const key = await makeKey(`key-${Buffer.from(random.bytes(6)).toString('hex')}`);
      await store.add(key);
      loadedAt = 0;
      return key.kid;
    },
    async secret(name) {
      let kept = await store.secret(name);
      if (kept === undefined) {
        await store.addSecret(name, seal(newSecret(random), keySecret, random));
        // Of several nodes that do this at once, one makes the secret.
        kept = await store.secret(name);
      }
      if (kept === undefined) {
        throw new Error(`the secret ${name} was not saved`);
      }
      return unseal(kept, keySecret);
    },
  };
}

const SEALED = 'sealed.';

function sealingKey(secret: string): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, 'lastseen', 'signing keys', 32));
}

function seal(text: string, secret: string | undefined, random: Random): string {
  if (secret === undefined) {
    return text;
  }
  const nonce = random.bytes(12);
  const cipher = createCipheriv('aes-256-gcm', sealingKey(secret), nonce);
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return SEALED + Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url');
}

/** @throws ERR_STORE_UNAVAILABLE when the key was sealed with another secret */
function unseal(text: string, secret: string | undefined): string {
  if (!text.startsWith(SEALED)) {
    return text;
  }
  try {
    const bytes = Buffer.from(text.slice(SEALED.length), 'base64url');
    const decipher = createDecipheriv('aes-256-gcm', sealingKey(secret ?? ''), bytes.subarray(0, 12));
    decipher.setAuthTag(bytes.subarray(12, 28));
    return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8');
  } catch (error) {
    const message = 'the signing keys are sealed with another LASTSEEN_KEY_SECRET';
    throw new LastseenError('ERR_STORE_UNAVAILABLE', message, { cause: error });
  }
}
