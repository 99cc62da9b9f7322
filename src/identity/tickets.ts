/** Single-use tickets of 30 s, for browsers that can set neither header nor subprotocol. */
import { LastseenError } from '../errors.ts';
import type { Runtime } from '../runtime.ts';
import type { Principal, Scope } from './principal.ts';
import { newSecret, secretHash } from './secrets.ts';
import type { TicketStore } from './ticket-store.ts';
import type { TokenStore } from './token-store.ts';

export const TICKET_SECONDS = 30;

export interface Tickets {
  issue(principal: Principal): Promise<string>;
  /** @throws ERR_UNAUTHENTICATED when it was used, or is over */
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
      const kept = await tickets.take(secretHash(ticket), clock.now());
      if (kept === undefined) {
        throw new LastseenError('ERR_UNAUTHENTICATED', 'the ticket is not valid: it was used, or is over');
      }
      const principal = JSON.parse(kept) as Omit<Principal, 'scopes'> & { readonly scopes: Scope[] };
      const jti = principal.jti;
      if (jti !== null && !jti.startsWith('outside:')) {
        const record = await tokens.find(jti);
        if (record?.revokedAt !== null) {
          throw new LastseenError('ERR_UNAUTHENTICATED', 'the token behind the ticket was revoked');
        }
      }
      return { ...principal, scopes: new Set(principal.scopes) };
    },
  };
}
