/** All tables of identity, as an engine gives them. Each factory takes the ones that it needs. */
import type { ClientStore } from './client-store.ts';
import type { KeyStore } from './key-store.ts';
import type { TicketStore } from './ticket-store.ts';
import type { TokenStore } from './token-store.ts';
import type { UserStore } from './user-store.ts';

export interface IdentityStores {
  readonly users: UserStore;
  readonly tokens: TokenStore;
  readonly clients: ClientStore;
  readonly keys: KeyStore;
  readonly tickets: TicketStore;
}
