/** GET /events: page, long poll, event stream; and payloads on every wire. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { EventSource } from 'eventsource';
import { openSqliteEngine } from '../../../src/engines/sqlite/engine.ts';
import { cursorOf } from '../../../src/log/cursor.ts';
import { createLog } from '../../../src/log/log.ts';
import { systemRuntime } from '../../../src/system-runtime.ts';
import { event, PAYLOADS } from '../../engines/contract.ts';
import { type Problem, type Service, startService, TOKEN } from '../../support/service.ts';
import { temporaryDirectory } from '../../support/temporary.ts';
import { openEventStream } from '../../support/wire.ts';

describe('GET /events', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  it('G3: pages follow each other without gap or repeat', async () => {
    await service.push(
      ...Array.from({ length: 25 }, (_, at) => ({ accessid: 'pages', created_at: 1, payload: at })),
    );
    const seen: unknown[] = [];
    let after = 'start';
    for (;;) {
      const page = await service.page('pages', `&limit=7&after=${after}`);
      seen.push(...page.events.map((one) => one.payload));
      after = page.cursor;
      if (page.caught_up) {
        break;
      }
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 25 }, (_, at) => at),
    );
    assert.deepEqual((await service.page('pages', `&after=${after}`)).events, []);
    assert.deepEqual((await service.page('pages', '&after=now')).events, []);
    assert.equal((await service.page('pages', '&timestamp=1')).events.length, 25);
  });

  it('a long poll answers as soon as there is something, or empty', async () => {
    const { cursor } = await service.page('poll');
    const waiting = service.page('poll', `&wait=20&after=${cursor}`);
    await service.push({ accessid: 'elsewhere', created_at: 1, payload: 1 });
    await service.push({ accessid: 'poll', created_at: 1, payload: 1 });
    assert.equal((await waiting).events.length, 1);
    const empty = await service.page('poll', `&wait=1&after=now`);
    assert.deepEqual([empty.events, empty.caught_up], [[], true]);
  });

  it('what is wrong with a query is named', async () => {
    for (const [query, name] of [
      ['', 'access_id'],
      ['access_id=', 'access_id'],
      ['access_id=a&access_id=b', 'access_id'],
      ['access_id=a&limit=0', 'limit'],
      ['access_id=a&limit=5001', 'limit'],
      ['access_id=a&limit=x', 'limit'],
      ['access_id=a&wait=61', 'wait'],
      ['access_id=a&wait=-1', 'wait'],
      ['access_id=a&timestamp=soon', 'timestamp'],
      ['access_id=a&timestamp=1&after=now', 'timestamp'],
      ['access_id=a&after=x&after=y', 'after'],
    ]) {
      const response = await service.fetch(`/events?${query ?? ''}`);
      const problem = (await response.json()) as Problem;
      assert.deepEqual([response.status, problem.errors?.[0]?.pointer], [400, `/${name ?? ''}`], query);
    }
    assert.equal((await fetch(`${service.url}/events?access_id=a`)).status, 401);
    assert.equal(
      (await service.fetch('/events?access_id=a', { headers: { Accept: 'image/png' } })).status,
      406,
    );
    assert.equal((await service.fetch('/events?access_id=a', { method: 'DELETE' })).status, 405);
  });

  it('G6: cursors get their verdict on pages and streams alike', async () => {
    const directory = temporaryDirectory();
    const path = join(directory.path, 'log.db');
    const { store } = await openSqliteEngine({ path, runtime: systemRuntime });
    const log = await createLog({ store, runtime: systemRuntime });
    const receipts = await log.append({ events: [1, 2, 3].map((at) => event('old', at)), key: null });
    const floor = cursorOf(receipts[1] ?? assert.fail());
    await log.prune({ through: 2 });
    const { epoch } = await log.bounds();
    await log.close();
    const pruned = await startService({}, path);
    for (const [after, status, code] of [
      ['x', 400, 'ERR_CURSOR_MALFORMED'],
      [`${epoch}.1`, 410, 'ERR_CURSOR_TOO_OLD'],
      [`${epoch}.z`, 409, 'ERR_CURSOR_AHEAD'],
      ['aaaaaaaa.1', 409, 'ERR_CURSOR_EPOCH'],
    ] as const) {
      for (const Accept of ['application/json', 'text/event-stream']) {
        const response = await pruned.fetch(`/events?access_id=old&after=${after}`, { headers: { Accept } });
        const problem = (await response.json()) as Problem;
        assert.deepEqual([response.status, problem.code, problem.floor], [status, code, floor]);
      }
    }
    assert.deepEqual(
      (await pruned.page('old', `&after=${floor}`)).events.map((one) => one.version),
      [3],
    );
    assert.deepEqual(
      (await pruned.page('old')).events.map((one) => one.version),
      [3],
    );
    await pruned.stop();
    directory.remove();
  });

  it('G3: an EventSource that loses its connection goes on by itself, each event once', async () => {
    await service.push(...[1, 2].map((payload) => ({ accessid: 'stream', created_at: 1, payload })));
    const seen: number[] = [];
    let opened = 0;
    let onSeen: () => void = () => undefined;
    const source = new EventSource(`${service.url}/events?access_id=stream&after=start`, {
      fetch: (url, init) => {
        opened += 1;
        return fetch(url, { ...init, headers: { ...init.headers, Authorization: `Bearer ${TOKEN}` } });
      },
    });
    source.onmessage = (message) => {
      seen.push((JSON.parse(message.data as string) as { payload: number }).payload);
      onSeen();
    };
    const until = (count: number): Promise<void> =>
      new Promise((resolve) => {
        onSeen = () => {
          if (seen.length >= count) {
            resolve();
          }
        };
        onSeen();
      });
    await until(2);
    await service.post('/drop_user', { drop_access_id: 'stream' });
    await service.push({ accessid: 'stream', created_at: 1, payload: 3 });
    await until(3);
    await service.push({ accessid: 'stream', created_at: 1, payload: 4 });
    await until(4);
    source.close();
    assert.deepEqual(seen, [1, 2, 3, 4]);
    assert.ok(opened >= 2);
  });

  it('an event stream has its headers and its records, and Last-Event-ID wins over after', async () => {
    await service.push(...[1, 2].map((payload) => ({ accessid: 'records', created_at: 5, payload })));
    const [first, second] = (await service.page('records')).events;
    const stream = await openEventStream(service, '/events?access_id=records&after=start', {
      'Last-Event-ID': first?.cursor ?? '',
    });
    const { headers } = stream.response;
    assert.match(headers.get('content-type') ?? '', /^text\/event-stream/);
    assert.equal(headers.get('x-accel-buffering'), 'no');
    const text = await stream.until((received) => received.includes('data:'));
    await stream.close();
    assert.equal(text, `retry: 2000\n\nid: ${second?.cursor ?? ''}\ndata: ${JSON.stringify(second)}\n\n`);
  });

  it('G9: payloads keep their text on GET, WebSocket and event stream', async () => {
    const body = `[ ${PAYLOADS.map((payload) => `{ "payload" :\n${payload}\t, "p\\u0061yload2":0, "created_at": 1, "accessid": "text" }`).join(' ,\r\n')} ]`;
    assert.equal(await (await service.post('/push_events', body)).text(), 'true');
    const expected = PAYLOADS.map((payload) => `"payload":${payload}}`);
    const page = await (await service.fetch('/events?access_id=text')).text();
    const client = await service.connect();
    client.send({ access_id: 'text', after: 'start' });
    const frame = await client.frame((one) => one.includes('"type":"events"'));
    const legacy = await service.connect();
    legacy.send({ access_id: 'text', timestamp: 0 });
    const old = await legacy.frame(() => true);
    const source = await openEventStream(service, '/events?access_id=text');
    const stream = await source.until((received) => received.includes(expected.at(-1) ?? ''));
    await source.close();
    for (const wire of [page, frame, old, stream]) {
      let at = 0;
      for (const payload of expected) {
        const found = wire.indexOf(payload, at);
        assert.ok(found >= 0, `${payload} is not in ${wire.slice(at, at + 200)}`);
        at = found + payload.length;
      }
    }
    await client.close();
    await legacy.close();
  });
});
