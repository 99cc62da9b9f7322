/** What a query on SQLite may take in memory: so much beyond what the runtime itself reserves, on each Node line. */
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { type Problem, type Service, startService } from '../../support/service.ts';

const MIB = 1024 * 1024;

/** Keeps so many rows of 1 MiB until all are there. */
const GATHER = `with recursive
    n(i) as (select 1 union all select i + 1 from n where i < $1),
    kept as materialized (select format('%.*c', ${MIB}, 'x') as text from n)
  select count(*), sum(length(text)) from kept`;

async function withService(
  settings: Record<string, string>,
  use: (service: Service) => Promise<void>,
  logger = pino({ level: 'silent' }),
): Promise<void> {
  const service = await startService(settings, undefined, { logger });
  try {
    await use(service);
  } finally {
    await service.stop();
  }
}

const isBounded = process.platform === 'linux' ? false : 'memory is bounded on Linux only';

describe('the memory of a query on SQLite', { skip: isBounded }, () => {
  for (const [name, settings, mib] of [
    ['128 MiB, the smallest setting', { LASTSEEN_QUERY_MEMORY_BYTES: String(128 * MIB) }, 128],
    ['512 MiB, the default', {}, 512],
  ] as const) {
    it(`${name}: three quarters of it are answered, five quarters are refused, again and again`, () =>
      withService(settings, async (service) => {
        const gather = async (count: number): Promise<unknown> => {
          const response = await service.post('/query', { sql: GATHER, params: [count] });
          const body = (await response.json()) as Problem & { readonly rows: unknown };
          return response.status === 200 ? body.rows : [response.status, body.code];
        };
        for (let turn = 0; turn < 2; turn += 1) {
          assert.deepEqual(await gather(1), [[1, MIB]]);
          assert.deepEqual(await gather((mib * 3) / 4), [[(mib * 3) / 4, (mib * 3 * MIB) / 4]]);
          assert.deepEqual(await gather((mib * 5) / 4), [422, 'ERR_QUERY_LIMIT']);
        }
      }));
  }
});

describe('a process for queries that dies at its start', () => {
  it('is our fault: 500 and a line in the log that says why; the next query is answered', async () => {
    const lines: string[] = [];
    const logger = pino(
      { level: 'error' },
      new Writable({
        write(line: Buffer, _encoding, done) {
          lines.push(line.toString());
          done();
        },
      }),
    );
    await withService(
      {},
      async (service) => {
        const { NODE_OPTIONS: usual } = process.env;
        process.env['NODE_OPTIONS'] = '--require=/nowhere/absent.cjs';
        try {
          const response = await service.post('/query', { sql: 'select 1' });
          const problem = (await response.json()) as Problem;
          assert.deepEqual([response.status, problem.code], [500, 'ERR_INTERNAL'], problem.detail);
          assert.doesNotMatch(problem.detail, /absent/);
          assert.equal(lines.length, 1);
          assert.match(lines[0] ?? '', /Cannot find module '\/nowhere\/absent\.cjs'/);
        } finally {
          if (usual === undefined) {
            delete process.env['NODE_OPTIONS'];
          } else {
            process.env['NODE_OPTIONS'] = usual;
          }
        }
        assert.equal((await service.post('/query', { sql: 'select 1' })).status, 200);
      },
      logger,
    );
  });
});
