/** Addresses of one and of several PostgreSQL hosts. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { readConfig, redacted } from '../../src/config.ts';
import { readPostgresUrl } from '../../src/engines/postgres-url.ts';

const SECRET = 'a-secret';

const urlsOf = (url: string): string[] => readPostgresUrl(url).map((host) => host.url);

describe('an address of PostgreSQL', () => {
  it('has one host as it stands, whatever it is', () => {
    for (const url of [
      'postgres://h/db',
      'postgresql://u:p@h:5433/db?sslmode=require',
      'postgres://u@/db?host=/var/run/postgresql',
      'postgres://[::1]:5433/db',
    ]) {
      assert.deepEqual(urlsOf(url), [url]);
    }
  });

  it('has several hosts, each with its port or the default, and user, database and parameters for all', () => {
    assert.deepEqual(
      readPostgresUrl(
        'postgres://u:p%2Cw@h1:5433,h2,[::1]:5/db?sslmode=require&target_session_attrs=read-write',
      ),
      [
        { name: 'h1:5433', url: 'postgres://u:p%2Cw@h1:5433/db?sslmode=require' },
        { name: 'h2:5432', url: 'postgres://u:p%2Cw@h2/db?sslmode=require' },
        { name: '[::1]:5', url: 'postgres://u:p%2Cw@[::1]:5/db?sslmode=require' },
      ],
    );
    assert.deepEqual(urlsOf('postgresql://u:a,b@h1,h2/db'), [
      'postgresql://u:a,b@h1/db',
      'postgresql://u:a,b@h2/db',
    ]);
  });

  it('may list the hosts as parameters, with one port for all or one for each', () => {
    assert.deepEqual(urlsOf('postgres://u@/db?host=h1,h2&port=1,2'), [
      'postgres://u@h1:1/db',
      'postgres://u@h2:2/db',
    ]);
    assert.deepEqual(urlsOf('postgres://u@/db?host=h1,::1&port=7&sslmode=disable'), [
      'postgres://u@h1:7/db?sslmode=disable',
      'postgres://u@[::1]:7/db?sslmode=disable',
    ]);
  });

  it('G12: is refused with what is wrong, and never with its text', () => {
    const at = (hosts: string): string => `postgres://u:${SECRET}@${hosts}/db`;
    for (const [url, wrong] of [
      [at('h1:x,h2'), /host 1 of 2 must be HOST or HOST:PORT/],
      [at('h1,h2:70000'), /host 2 of 2 must have a port from 1 to 65535/],
      [at('h1,h2:'), /host 2 of 2 must have a port/],
      [at('h1,,h3'), /host 2 of 3 must have a name/],
      [at('h1,a b'), /host 2 of 2 must be a host name/],
      [at(Array.from({ length: 17 }, () => 'h').join(',')), /at most 16 hosts, has 17/],
      [
        `${at('h1,h2')}?target_session_attrs=standby`,
        /target_session_attrs must be any, read-write, primary/,
      ],
      [`${at('h1')}?target_session_attrs=read-only`, /target_session_attrs must be/],
      [`postgres://u:${SECRET}@/db?host=a,b,c&port=1,2`, /has 2 ports and 3 hosts/],
    ] as const) {
      for (const name of ['DATABASE_URL', 'DATABASE_LISTEN_URL']) {
        assert.throws(
          () => readConfig({ [name]: url }),
          (error: Error) => {
            assert.match(error.message, wrong);
            assert.ok(error.message.startsWith(`${name}: `), error.message);
            assert.ok(!error.message.includes(SECRET));
            return true;
          },
        );
      }
    }
  });

  it('G12: is shown to the operator with hosts and database, without user and password', () => {
    const shown = (url: string): unknown => redacted(readConfig({ DATABASE_URL: url }))['database'];
    assert.equal(
      shown(`postgres://u:${SECRET}@h1:5433,h2/db?sslmode=require`),
      'postgres://h1:5433,h2:5432/db',
    );
    assert.equal(shown(`postgres://u:${SECRET}@h1/db`), 'postgres://h1:5432/db');
    assert.equal(shown(`postgres://u:1/${SECRET}@h1/db`), 'postgres://[redacted]');
  });
});
