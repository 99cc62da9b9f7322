/** Users, tokens, clients and keys, put together over an engine's stores. */
import type { Log } from '../log/log.ts';
import type { Runtime } from '../runtime.ts';
import type { ValuesOf } from '../settings.ts';
import { type Authenticator, createAuthenticator, type IdentityProvider } from './authenticator.ts';
import { type Clients, createClients } from './clients.ts';
import { createGrants, type Grants } from './grants.ts';
import { createKeys, type Keys } from './keys.ts';
import { createRevocations, type Revocations } from './revocations.ts';
import type { identitySettings } from './settings.ts';
import type { IdentityStores } from './stores.ts';
import { createTickets, type Tickets } from './tickets.ts';
import { createTokens, type Tokens } from './tokens.ts';
import { createUsers, type Users } from './users.ts';

export interface Identity {
  readonly keys: Keys;
  readonly revocations: Revocations;
  readonly tokens: Tokens;
  readonly clients: Clients;
  readonly users: Users;
  readonly tickets: Tickets;
  readonly grants: Grants;
  readonly authenticator: Authenticator;
  /** The admin token, in clear this once, if it was made now. */
  readonly newAdminToken: string | undefined;
}

export interface IdentityOptions {
  readonly stores: IdentityStores;
  readonly append: Log['append'];
  readonly settings: Pick<ValuesOf<typeof identitySettings>, 'isAuthOpen' | 'adminToken' | 'keySecret'> & {
    readonly outside: IdentityProvider | undefined;
  };
  readonly runtime: Pick<Runtime, 'clock' | 'random'>;
}

export async function createIdentity(options: IdentityOptions): Promise<Identity> {
  const { stores, append, runtime } = options;
  const { isAuthOpen: isOpen, adminToken, keySecret, outside } = options.settings;
  const keys = createKeys({ keys: stores.keys, keySecret, runtime });
  const revocations = createRevocations(runtime.clock);
  let newAdminToken: string | undefined;
  const authenticator = await createAuthenticator({
    tokens: stores.tokens,
    keys,
    revocations,
    isOpen,
    adminToken,
    provider: outside,
    runtime,
    onAdminToken: (token) => (newAdminToken = token),
  });
  return {
    keys,
    revocations,
    tokens: createTokens({ tokens: stores.tokens, users: stores.users, keys, append, runtime }),
    clients: createClients({ clients: stores.clients, tokens: stores.tokens, append, runtime }),
    users: createUsers({ users: stores.users, tokens: stores.tokens, append, runtime }),
    tickets: createTickets({ tickets: stores.tickets, tokens: stores.tokens, runtime }),
    grants: createGrants({ tokens: stores.tokens, append, runtime }),
    authenticator,
    newAdminToken,
  };
}
