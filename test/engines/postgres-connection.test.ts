/** A connection to PostgreSQL that the server ends in the very moment in which it is open. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { it } from 'node:test';
import { connect, destroyConnection } from '../../src/engines/postgres/connection.ts';

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
