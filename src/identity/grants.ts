/**
 * Rights that a gateway grants in tokens of its own form, which may live longer than access tokens. Each grant is a row
 * among the access tokens, without the token itself: the API lists it, and revoking it reaches every node (G10).
 */
import { serviceEvent } from '../log/event.ts';
import type { Runtime } from '../runtime.ts';
import { type Append, CONTROL } from './feeds.ts';
import type { TokenRecord, TokenStore } from './token-store.ts';
import type { TokenRequest } from './tokens.ts';

export interface Grants {
  /** `family` is that of the grant that this one replaces; without it the grant begins a family. */
  issue(request: TokenRequest, family?: string): Promise<TokenRecord>;
  /** The grant, unless it has expired or was revoked. */
  find(jti: string): Promise<TokenRecord | undefined>;
}

export interface GrantsOptions {
  readonly tokens: Pick<TokenStore, 'find' | 'insert'>;
  readonly append: Append;
  readonly runtime: Pick<Runtime, 'clock' | 'random'>;
}

export function createGrants({ tokens, append, runtime }: GrantsOptions): Grants {
  const { clock, random } = runtime;

  return {
    async issue({ subject, scope, accessIds, expiresInSeconds, clientId }, family = random.uuid()) {
      const createdAt = clock.now();
      const record: TokenRecord = {
        jti: random.uuid(),
        subject,
        scope,
        accessIds,
        clientId,
        createdAt,
        expiresAt: createdAt + expiresInSeconds * 1_000,
        revokedAt: null,
        family,
        refreshExpiresAt: null,
        refreshedAt: null,
      };
      await append({
        events: [serviceEvent(CONTROL, { type: 'token_issued', jti: record.jti })],
        key: null,
        rows: [tokens.insert(record, null)],
      });
      return record;
    },
    async find(jti) {
      const record = await tokens.find(jti);
      return record?.revokedAt === null && record.expiresAt > clock.now() ? record : undefined;
    },
  };
}
