/** GET /metrics: what it says is well-formed, and moves with what happens. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { connect, type Service, startService, TOKEN } from '../../support/service.ts';
import { until } from '../../support/until.ts';

const SAMPLE =
  /^([a-z_:][a-z0-9_:]*)(\{[a-z_]+="[^"\\\n]*"(?:,[a-z_]+="[^"\\\n]*")*\})? (-?[0-9.]+(?:e[+-]?\d+)?|NaN|[+-]Inf)$/i;

/** Samples by name and labels. Fails on a line that is not of the text format, and on a sample without a type. */
function parse(text: string): Map<string, number> {
  const types = new Map<string, string>();
  const samples = new Map<string, number>();
  assert.ok(text.endsWith('\n'));
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('# HELP ')) {
      continue;
    }
    const type = /^# TYPE ([a-z_:][a-z0-9_:]*) (counter|gauge|histogram|summary)$/.exec(line);
    if (type !== null) {
      assert.ok(!types.has(type[1] ?? ''), `${line}: said twice`);
      types.set(type[1] ?? '', type[2] ?? '');
      continue;
    }
    const [, name = '', labels = '', value = ''] = SAMPLE.exec(line) ?? assert.fail(`not a sample: ${line}`);
    const family = name.replace(/_(bucket|sum|count)$/, '');
    assert.ok(types.has(name) || types.has(family), `${name} has no type`);
    assert.ok(!samples.has(name + labels), `${line}: said twice`);
    samples.set(name + labels, Number(value));
  }
  return samples;
}

describe('GET /metrics', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  async function scrape(): Promise<Map<string, number>> {
    const response = await service.fetch('/metrics');
    assert.equal(response.status, 200);
    assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
    return parse(await response.text());
  }

  it('is well-formed, in base units, and says the same thing when nothing happens', async () => {
    const samples = await scrape();
    for (const name of samples.keys()) {
      assert.doesNotMatch(name, /_(ms|milliseconds|kb|mb|kilobytes)(_|\{|$)/, name);
    }
    for (const name of ['process_resident_memory_bytes', 'nodejs_eventloop_lag_seconds']) {
      assert.ok((samples.get(name) ?? -1) >= 0, name);
    }
    const again = await scrape();
    assert.equal(again.get('lastseen_events_appended_total'), samples.get('lastseen_events_appended_total'));
  });

  it('counts what is pushed, what was there already, and how long commits take', async () => {
    const before = await scrape();
    const batch = [1, 2, 3].map((n) => ({ accessid: 'counted', created_at: n, payload: n, id: `n${n}` }));
    await service.push(...batch);
    await service.push(...batch.slice(0, 2));
    const now = await scrape();
    const moved = (name: string): number => (now.get(name) ?? NaN) - (before.get(name) ?? 0);
    assert.equal(moved('lastseen_events_appended_total'), 3);
    assert.equal(moved('lastseen_events_duplicate_total'), 2);
    assert.equal(moved('lastseen_append_batches_total'), 2);
    assert.equal(moved('lastseen_commit_duration_seconds_count'), 2);
    assert.ok(moved('lastseen_commit_duration_seconds_sum') > 0);
    assert.equal(moved('lastseen_head_position'), 3);
    assert.equal(now.get('lastseen_queue_events'), 0);
    assert.equal(now.get('lastseen_store_errors_total'), 0);
    assert.ok((now.get('lastseen_sqlite_wal_bytes') ?? 0) > 0);
  });

  it('counts who is connected, what they were given live and while catching up, and in pages', async () => {
    await service.push({ accessid: 'read', created_at: 1, payload: 'before' });
    const client = await service.connect();
    client.send({ access_id: 'read', after: 'start' });
    await client.typed('live');
    await service.push({ accessid: 'read', created_at: 2, payload: 'while live' });
    await client.events(2);
    await service.page('read');
    const samples = await scrape();
    assert.equal(samples.get('lastseen_connections{gateway="notifier"}'), 1);
    assert.equal(samples.get('lastseen_subscriptions{state="live"}'), 1);
    assert.equal(samples.get('lastseen_subscriptions{state="catching_up"}'), 0);
    assert.equal(samples.get('lastseen_lag_events'), 0);
    assert.equal(samples.get('lastseen_delivered_events_total{gateway="notifier",phase="catch_up"}'), 1);
    assert.equal(samples.get('lastseen_delivered_events_total{gateway="notifier",phase="live"}'), 1);
    assert.equal(samples.get('lastseen_delivered_events_total{gateway="events",phase="catch_up"}'), 2);
    assert.ok((samples.get('lastseen_delivered_bytes_total{gateway="notifier"}') ?? 0) > 100);
    await client.close();
    await until(
      async () => !(await scrape()).has('lastseen_connections{gateway="notifier"}'),
      'the connection to be counted no more',
    );
    // What a connection was given is not forgotten with it.
    const later = await scrape();
    assert.equal(later.get('lastseen_delivered_events_total{gateway="notifier",phase="live"}'), 1);
  });

  it('counts refusals by code, on HTTP and on sockets', async () => {
    const before = await scrape();
    assert.equal((await service.post('/push_events', [{ accessid: '$users' }])).status, 400);
    const client = await connect(service.port, { headers: { Authorization: `Bearer ${TOKEN}` } });
    client.send({ access_id: 'read', after: 'no cursor' });
    await client.closed();
    const now = await scrape();
    for (const code of ['ERR_EVENT_INVALID', 'ERR_CURSOR_MALFORMED']) {
      const name = `lastseen_errors_total{code="${code}"}`;
      assert.equal((now.get(name) ?? 0) - (before.get(name) ?? 0), 1, name);
    }
  });

  it('is for admins: it asks for the scope, and names no client', async () => {
    assert.equal((await fetch(`${service.url}/metrics`)).status, 401);
    const made = await service.post('/tokens', { scope: 'subscribe query', access_ids: ['*'] });
    const { access_token: token } = (await made.json()) as { access_token: string };
    const refused = await fetch(`${service.url}/metrics`, { headers: { Authorization: `Bearer ${token}` } });
    assert.equal(refused.status, 403);
    assert.equal((await service.post('/metrics', {})).status, 405);
    const text = await (await service.fetch('/metrics')).text();
    assert.doesNotMatch(text, /counted|read"|admin/);
  });
});
