/** The PostgreSQL role with which analysts log in: it may read the contract and nothing else. */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import pg from 'pg';
import { connect, type Connection } from '../../engines/postgres/connection.ts';
import { LastseenError, quote } from '../../errors.ts';
import type { Random } from '../../runtime.ts';
import { GRANT_CONTRACT } from './grants.ts';

export interface Analyst {
  readonly name: string;
  readonly password: string;
}

/** The comment that marks a role as made here. */
const MARK = 'analyst of lastseen';

const SCRAM_ITERATIONS = 4_096;

/** Settings of the role's sessions. The server ends what runs or waits too long. */
const SETTINGS = [
  'default_transaction_read_only = on',
  `statement_timeout = '5min'`,
  `idle_in_transaction_session_timeout = '1min'`,
  `lock_timeout = '5s'`,
];

/** What is wrong with a password, or `undefined`. Visible ASCII needs no preparation (RFC 4013). */
export function passwordFault(password: string): string | undefined {
  if (password.length < 12) {
    return 'must have at least 12 characters';
  }
  return /^[\x21-\x7e]+$/.test(password) ? undefined : 'must be visible ASCII without spaces';
}

/**
 * Creates the role, or changes its password, and grants it the contract. Also creates the roles of POST /query if they
 * are missing.
 * @throws ERR_FORBIDDEN when the user of the URL may not, ERR_STORE_UNAVAILABLE when the server cannot be reached
 */
export async function createAnalyst(
  url: string,
  { name, password }: Analyst,
  random: Pick<Random, 'bytes'>,
): Promise<void> {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(name)) {
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      `--name: must be 1 to 63 lower-case letters, digits and _, got ${quote(name)}`,
    );
  }
  let client: Connection | undefined;
  try {
    client = await connect(url);
    await client.query('begin');
    await client.query(GRANT_CONTRACT);
    const { rows } = await client.query<{ is_own: boolean }>(
      `select coalesce(shobj_description(oid, 'pg_authid'), '') = $2 as is_own from pg_roles where rolname = $1`,
      [name, MARK],
    );
    const [existing] = rows;
    // A role that was made for something else must not become an analyst.
    if (existing?.is_own === false) {
      throw new LastseenError(
        'ERR_REQUEST_INVALID',
        `--name: the role ${name} exists and was not created by this command`,
      );
    }
    const verb = existing === undefined ? 'create' : 'alter';
    await client.query(
      `${verb} role ${name} login nosuperuser nocreatedb nocreaterole noreplication connection limit 20 password '${scramVerifier(password, random)}'`,
    );
    for (const setting of SETTINGS) {
      await client.query(`alter role ${name} set ${setting}`);
    }
    await client.query(`comment on role ${name} is '${MARK}'`);
    await client.query(`grant lastseen_query to ${name}`);
    await client.query('commit');
  } catch (error) {
    throw toUserError(error);
  } finally {
    await client?.end().catch(() => undefined);
  }
}

/** What PostgreSQL stores instead of a password (RFC 5803). Made here, so that the password does not reach the server. */
export function scramVerifier(password: string, random: Pick<Random, 'bytes'>): string {
  const salt = Buffer.from(random.bytes(16));
  const salted = pbkdf2Sync(password, salt, SCRAM_ITERATIONS, 32, 'sha256');
  const sign = (text: string): Buffer => createHmac('sha256', salted).update(text).digest();
  const stored = createHash('sha256').update(sign('Client Key')).digest('base64');
  const server = sign('Server Key').toString('base64');
  return `SCRAM-SHA-256$${SCRAM_ITERATIONS}:${salt.toString('base64')}$${stored}:${server}`;
}

function toUserError(error: unknown): unknown {
  if (error instanceof LastseenError) {
    return error;
  }
  if (!(error instanceof pg.DatabaseError)) {
    return new LastseenError('ERR_STORE_UNAVAILABLE', 'the PostgreSQL of DATABASE_URL cannot be reached', {
      cause: error,
    });
  }
  if (error.code === '42501') {
    return new LastseenError(
      'ERR_FORBIDDEN',
      `the user of DATABASE_URL lacks a right (${error.message}): it needs CREATEROLE`,
    );
  }
  if (error.code === '42P01') {
    return new LastseenError('ERR_STORE_UNAVAILABLE', 'the views are missing: run "lastseen migrate"');
  }
  return new LastseenError('ERR_STORE_UNAVAILABLE', `PostgreSQL refused: ${error.message}`, { cause: error });
}
