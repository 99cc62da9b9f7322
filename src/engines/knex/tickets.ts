/** Single-use tickets, kept by knex: the same on both engines. */
import type { Knex } from 'knex';
import type { TicketStore } from '../../identity/ticket-store.ts';

interface TicketRow {
  ticket_hash: string;
  principal: string;
  expires_at: number | string;
}

export function createTicketStore(knex: Knex): TicketStore {
  return {
    async save({ hash, principal, expiresAt }) {
      await knex('tickets').insert({ ticket_hash: hash, principal, expires_at: expiresAt });
    },
    async take(hash, now) {
      const taken = await knex<TicketRow>('tickets')
        .where({ ticket_hash: hash })
        .first('principal', 'expires_at');
      const removed = await knex('tickets').where({ ticket_hash: hash }).delete();
      await knex('tickets').where('expires_at', '<', now).delete();
      return taken !== undefined && removed === 1 && Number(taken.expires_at) > now
        ? taken.principal
        : undefined;
    },
  };
}
