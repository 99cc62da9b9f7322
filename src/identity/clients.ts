/** Credentials of connectors: an id, and a secret that is shown once and kept as a hash. */
import { LastseenError } from '../errors.ts';
import { serviceEvent } from '../log/event.ts';
import type { Runtime } from '../runtime.ts';
import type { ClientRecord, ClientStore } from './client-store.ts';
import { type Append, CONTROL } from './feeds.ts';
import { hasHash, newSecret, secretHash } from './secrets.ts';
import type { TokenStore } from './token-store.ts';

export interface Clients {
  create(client: Pick<ClientRecord, 'name' | 'scope' | 'accessIds'>): Promise<{
    readonly clientId: string;
    readonly clientSecret: string;
  }>;
  list(): Promise<ClientRecord[]>;
  find(clientId: string): Promise<ClientRecord | undefined>;
  /** Removes the client and revokes its tokens. @throws ERR_NOT_FOUND */
  remove(clientId: string): Promise<void>;
  /** @throws ERR_CLIENT_INVALID */
  authenticate(clientId: string, clientSecret: string): Promise<ClientRecord>;
}

export interface ClientsOptions {
  readonly clients: ClientStore;
  readonly tokens: Pick<TokenStore, 'revokeOfClient'>;
  readonly append: Append;
  readonly runtime: Pick<Runtime, 'clock' | 'random'>;
}

export function createClients({ clients, tokens, append, runtime }: ClientsOptions): Clients {
  const { clock, random } = runtime;
  /** Compared when there is no such client, so that both cases take the same time. */
  const unknownHash = secretHash(newSecret(random));

  return {
    async create({ name, scope, accessIds }) {
      const clientId = random.uuid();
      const clientSecret = newSecret(random, 'lss_');
      const row = {
        clientId,
        name,
        secretHash: secretHash(clientSecret),
        scope,
        accessIds,
        createdAt: clock.now(),
      };
      await append({
        events: [serviceEvent(CONTROL, { type: 'client_created', client_id: clientId })],
        key: null,
        rows: [clients.insert(row)],
      });
      return { clientId, clientSecret };
    },
    list: () => clients.list(),
    find: (clientId) => clients.find(clientId),
    async remove(clientId) {
      try {
        await append({
          events: [serviceEvent(CONTROL, { type: 'client_removed', client_id: clientId })],
          key: null,
          rows: [clients.remove(clientId), tokens.revokeOfClient(clientId, clock.now())],
        });
      } catch (error) {
        if (!(error instanceof LastseenError) || error.code !== 'ERR_CHANGED_MEANWHILE') {
          throw error;
        }
        throw new LastseenError('ERR_NOT_FOUND', 'the client does not exist');
      }
    },
    async authenticate(clientId, clientSecret) {
      const client = await clients.find(clientId);
      const isRight = hasHash(clientSecret, client?.secretHash ?? unknownHash);
      if (client !== undefined && isRight) {
        return client;
      }
      throw new LastseenError('ERR_CLIENT_INVALID', 'the client does not exist, or its secret is wrong');
    },
  };
}
