/** Single-use tickets of 30 s, for browsers that can set neither header nor subprotocol. */
import { LastseenError } from '../errors.ts';
import type { Runtime } from '../runtime.ts';
import { type Principal, PROVIDER_PREFIX, type Scope } from './principal.ts';
import { newSecret, secretHash } from './secrets.ts';
import type { TicketStore } from './ticket-store.ts';
import type { TokenStore } from './token-store.ts';

export const TICKET_SECONDS = 30;

export interface Tickets {
  issue(principal: Principal): Promise<string>;
  /** @throws ERR_UNAUTHENTICATED when the ticket was used or has expired, or its token was revoked */
  redeem(ticket: string): Promise<Principal>;
}

export interface TicketsOptions {
  readonly tickets: TicketStore;
  readonly tokens: Pick<TokenStore, 'find'>;
  readonly runtime: Pick<Runtime, 'clock' | 'random'>;
}

export function createTickets({ tickets, tokens, runtime }: TicketsOptions): Tickets {
  const { clock, random } = runtime;

  return {
    async issue(principal) {
      const ticket = newSecret(random, 'lst_');
      await tickets.save({
        hash: secretHash(ticket),
        principal: JSON.stringify({ ...principal, scopes: [...principal.scopes] }),
        expiresAt: clock.now() + TICKET_SECONDS * 1_000,
      });
      return ticket;
    },
    async redeem(ticket) {
      const saved = await tickets.take(secretHash(ticket), clock.now());
      if (saved === undefined) {
        throw new LastseenError('ERR_UNAUTHENTICATED', 'the ticket is invalid, was used, or has expired');
      }
      const principal = JSON.parse(saved) as Omit<Principal, 'scopes'> & { readonly scopes: Scope[] };
      const { jti } = principal;
      if (jti !== null && !jti.startsWith(PROVIDER_PREFIX)) {
        const record = await tokens.find(jti);
        if (record?.revokedAt !== null) {
          throw new LastseenError('ERR_UNAUTHENTICATED', 'the token of the ticket was revoked');
        }
      }
      return { ...principal, scopes: new Set(principal.scopes) };
    },
  };
}
