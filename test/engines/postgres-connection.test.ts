/** Connections to PostgreSQL: those that are lost in the moment in which they are open, and the choice among hosts. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import {
  connect,
  createPool,
  destroyConnection,
  toStoreError,
} from '../../src/engines/postgres/connection.ts';
import { freePort } from '../support/free-port.ts';
import { createDatabase, runSql } from '../support/postgres.ts';
import { missing } from '../support/programs.ts';
import { startService } from '../support/service.ts';
import { until } from '../support/until.ts';

/** A message of the server (PostgreSQL protocol 3.0): its type, its length, its body. */
function message(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const AUTHENTICATION_OK = message('R', Buffer.from([0, 0, 0, 0]));
const READY_FOR_QUERY = message('Z', Buffer.from('I'));
const TERMINATED = message(
  'E',
  Buffer.from('SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0'),
);

/** One row of text. */
function rowOf(columns: Readonly<Record<string, string>>): Buffer {
  const count = Buffer.alloc(2);
  count.writeInt16BE(Object.keys(columns).length);
  const TEXT = 25;
  const descriptions = Object.keys(columns).map((name) => {
    const rest = Buffer.alloc(18);
    rest.writeInt32BE(TEXT, 6);
    rest.writeInt16BE(-1, 10);
    return Buffer.concat([Buffer.from(`${name}\0`), rest]);
  });
  const values = Object.values(columns).map((value) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(value.length);
    return Buffer.concat([length, Buffer.from(value)]);
  });
  return Buffer.concat([
    message('T', Buffer.concat([count, ...descriptions])),
    message('D', Buffer.concat([count, ...values])),
    message('C', Buffer.from('SELECT 1\0')),
  ]);
}

const STATE = rowOf({
  is_in_recovery: 'false',
  is_read_only: 'false',
  started_at: '1',
  system_identifier: '1',
  wal_file: '000000010000000000000001',
});

it('is reported as lost, and nothing is thrown outside the caller', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    // The answer to the start-up message; then the server's state and the end in the same packet.
    socket.once('data', () => {
      socket.write(Buffer.concat([AUTHENTICATION_OK, READY_FOR_QUERY]));
      socket.once('data', () => socket.end(Buffer.concat([STATE, READY_FOR_QUERY, TERMINATED])));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  let lost = 0;
  const client = await connect(`postgres://user@127.0.0.1:${port}/db`, { onLost: () => (lost += 1) });
  assert.ok(lost > 0);
  await assert.rejects(client.query('select 1'));
  destroyConnection(client);
  server.close();
  await once(server, 'close');
});

/** Makes a database read-only by its settings, and ends its connections. */
async function alterReadOnly(databaseUrl: string, value: 'on' | 'off'): Promise<void> {
  const name = new URL(databaseUrl).pathname.slice(1);
  const server = new URL(databaseUrl);
  server.pathname = '/postgres';
  await runSql(server.href, `alter database ${name} set default_transaction_read_only = ${value}`);
  await runSql(
    server.href,
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}'`,
  );
}

describe('a choice among hosts', { skip: missing('PostgreSQL') }, () => {
  const SECRET = 'a-secret';

  it('takes the one that accepts writes, beside one that stands still, one that is away and a read-only one', async (context) => {
    const database = await createDatabase();
    context.after(() => database.drop());
    const silent = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const accepted: Socket[] = [];
    silent.on('connection', (socket) => accepted.push(socket.on('error', () => undefined)));
    context.after(async () => {
      accepted.forEach((socket) => socket.destroy());
      silent.close();
      await once(silent, 'close');
    });
    const away = await freePort();
    const { hostname, port, pathname, username } = new URL(database.url);
    const hosts = `127.0.0.1:${(silent.address() as AddressInfo).port},127.0.0.1:${away},${hostname}:${port}`;
    const url = `postgres://${username}:${SECRET}@${hosts}${pathname}`;

    const client = await connect(url);
    assert.equal(client.port, Number(port));
    destroyConnection(client);
    const pool = createPool(url, { max: 2 });
    context.after(() => pool.end());
    assert.deepEqual((await pool.query('select 1 as one')).rows, [{ one: 1 }]);

    await alterReadOnly(database.url, 'on');
    await assert.rejects(connect(url), (error: Error) => {
      assert.match(error.message, /^no host accepts writes \(/);
      assert.ok(error.message.includes(`127.0.0.1:${away}: ECONNREFUSED`), error.message);
      assert.ok(error.message.includes(`${hostname}:${port}: is read-only`), error.message);
      assert.ok(!error.message.includes(SECRET));
      assert.ok(!toStoreError(error).message.includes('127.0.0.1'));
      return true;
    });
  });

  it('G1: a server that becomes read-only refuses pushes while pages are served, and takes them again later', async (context) => {
    const database = await createDatabase();
    const node = await startService({ DATABASE_URL: database.url });
    context.after(async () => {
      await node.stop();
      await database.drop();
    });
    const setReadOnly = (value: 'on' | 'off'): Promise<void> => alterReadOnly(database.url, value);
    const push = (payload: number): Promise<Response> =>
      node.post('/push_events', [{ access_id: 'a', created_at: 1, id: String(payload), payload }]);
    assert.equal((await push(1)).status, 200);
    await setReadOnly('on');
    const refused = await push(2);
    assert.equal(refused.status, 503, await refused.text());
    await until(async () => (await node.fetch('/events?access_id=a&after=start')).status === 200, 'a page');
    assert.equal((await node.page('a')).events.length, 1);
    await setReadOnly('off');
    await until(async () => (await push(2)).status === 200, 'a push to be accepted');
    assert.equal((await node.page('a')).events.length, 2);
  });
});
