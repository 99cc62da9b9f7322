/** The new epoch of a PostgreSQL database that was restored by PostgreSQL's own tools. */
import type { Random } from '../../runtime.ts';
import { newEpoch } from '../epoch.ts';
import { connect } from './connection.ts';

/** Gives the log a new epoch. Running nodes notice it and close every connection. */
export async function renewPostgresEpoch(url: string, random: Random): Promise<void> {
  const client = await connect(url);
  try {
    await client.query('update log set epoch = $1', [newEpoch(random)]);
    await client.query('notify lastseen');
  } finally {
    await client.end();
  }
}
