/** The port behind which an engine keeps single-use tickets. Tickets reach it as hashes (G12). */

export interface TicketRecord {
  readonly hash: string;
  /** JSON text. */
  readonly principal: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

export interface TicketStore {
  save(ticket: TicketRecord): Promise<void>;
  /** Returns the principal that was saved under this hash, once, if the ticket has not expired. */
  take(hash: string, now: number): Promise<string | undefined>;
}
