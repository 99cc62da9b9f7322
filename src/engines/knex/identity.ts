/** All tables of identity over one knex: the same on both engines. */
import type { Knex } from 'knex';
import type { IdentityStores } from '../../identity/stores.ts';
import { createClientStore } from './clients.ts';
import { createKeyStore } from './keys.ts';
import { createTicketStore } from './tickets.ts';
import { createTokenStore } from './tokens.ts';
import { createUserStore } from './users.ts';

export function createIdentityStores(knex: Knex): IdentityStores {
  return {
    users: createUserStore(knex),
    tokens: createTokenStore(knex),
    clients: createClientStore(knex),
    keys: createKeyStore(knex),
    tickets: createTicketStore(knex),
  };
}
