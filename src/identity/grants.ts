/**
 * What a room grants in a token of its own form, for longer than an access token lives. Each grant is a row beside the
 * access tokens, without the token itself, so that it is listed, revoked and told of like them (G10).
 */
import { randomUUID } from 'node:crypto';
import type { AppendRequest, Receipt } from '../log/store.ts';
import type { IdentityStore, TokenRecord } from './store.ts';
import { CONTROL, type TokenRequest } from './tokens.ts';

export interface Grants {
  /** `family` names the grant that this one goes on from. */
  issue(request: TokenRequest, family?: string): Promise<TokenRecord>;
  /** The grant, unless it is over or revoked. */
  find(jti: string): Promise<TokenRecord | undefined>;
}

export function createGrants(
  store: IdentityStore,
  append: (request: AppendRequest) => Promise<readonly Receipt[]>,
): Grants {
  return {
    async issue({ subject, scope, accessIds, expiresInSeconds, clientId }, family = randomUUID()) {
      const createdAt = Date.now();
      const record: TokenRecord = {
        jti: randomUUID(),
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
      const payload = JSON.stringify({ type: 'token_issued', jti: record.jti });
      await append({
        events: [{ accessId: CONTROL, createdAt: null, id: null, payload }],
        key: null,
        rows: [store.insertToken(record, null)],
      });
      return record;
    },
    async find(jti) {
      const record = await store.token(jti);
      return record?.revokedAt === null && record.expiresAt > Date.now() ? record : undefined;
    },
  };
}
