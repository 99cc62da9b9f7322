/** Connectors' credentials: an id and a secret that is shown once and kept as its hash. */
import { randomUUID } from 'node:crypto';
import { LastseenError } from '../errors.ts';
import type { AppendRequest, Receipt } from '../log/store.ts';
import { hasHash, newSecret, secretHash } from './secrets.ts';
import type { ClientRecord, IdentityStore } from './store.ts';
import { CONTROL } from './tokens.ts';

export interface Clients {
  create(client: Pick<ClientRecord, 'name' | 'scope' | 'accessIds'>): Promise<{
    readonly clientId: string;
    readonly clientSecret: string;
  }>;
  list(): Promise<ClientRecord[]>;
  find(clientId: string): Promise<ClientRecord | undefined>;
  /** Its tokens are revoked with it. @throws ERR_NOT_FOUND */
  remove(clientId: string): Promise<void>;
  /** @throws ERR_CLIENT_INVALID */
  authenticate(clientId: string, clientSecret: string): Promise<ClientRecord>;
}

/** Compared when there is no such client, so that both cases take the same time. */
const NOBODY = secretHash(newSecret());

export function createClients(
  store: IdentityStore,
  append: (request: AppendRequest) => Promise<readonly Receipt[]>,
): Clients {
  return {
    async create({ name, scope, accessIds }) {
      const clientId = randomUUID();
      const clientSecret = newSecret('lss_');
      const row = {
        clientId,
        name,
        secretHash: secretHash(clientSecret),
        scope,
        accessIds,
        createdAt: Date.now(),
      };
      const payload = JSON.stringify({ type: 'client_created', client_id: clientId });
      await append({
        events: [{ accessId: CONTROL, createdAt: null, id: null, payload }],
        key: null,
        rows: [store.insertClient(row)],
      });
      return { clientId, clientSecret };
    },
    list: () => store.clients(),
    find: (clientId) => store.client(clientId),
    async remove(clientId) {
      const payload = JSON.stringify({ type: 'client_removed', client_id: clientId });
      try {
        await append({
          events: [{ accessId: CONTROL, createdAt: null, id: null, payload }],
          key: null,
          rows: [store.removeClient(clientId), store.revokeClientTokens(clientId, Date.now())],
        });
      } catch (error) {
        if (!(error instanceof LastseenError) || error.code !== 'ERR_CHANGED_MEANWHILE') {
          throw error;
        }
        throw new LastseenError('ERR_NOT_FOUND', 'there is no such client');
      }
    },
    async authenticate(clientId, clientSecret) {
      const client = await store.client(clientId);
      const isRight = hasHash(clientSecret, client?.secretHash ?? NOBODY);
      if (client !== undefined && isRight) {
        return client;
      }
      throw new LastseenError('ERR_CLIENT_INVALID', 'the client is not known, or its secret is wrong');
    },
  };
}
