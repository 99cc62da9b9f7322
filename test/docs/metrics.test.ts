/** The table of metrics says what the server exposes. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { startService } from '../support/service.ts';
import { codesIn, readPage, rowsOf } from '../support/tables.ts';

it('docs/reference/metrics.md: the server exposes the metrics that are listed, with these types', async () => {
  const service = await startService();
  try {
    await service.push({ accessid: 'a', created_at: 1, payload: 1 });
    const exposed = await (await service.fetch('/metrics')).text();
    const types = [...exposed.matchAll(/^# TYPE (lastseen_\w+) (\w+)$/gm)].map(([, name, type]) => [
      name,
      type,
    ]);
    const listed = rowsOf(readPage('docs/reference/metrics.md'))
      .filter(
        ([name, type]) => name?.startsWith('`lastseen_') && /^(counter|gauge|histogram)$/.test(type ?? ''),
      )
      .map(([name = '', type]) => [codesIn(name)[0], type]);
    assert.deepEqual(listed.sort(), types.sort());
    for (const [, name] of readPage('docs/reference/metrics.md').matchAll(/`((?:nodejs|process)_\w{3,})`/g)) {
      assert.ok(exposed.includes(`# TYPE ${name}`), name);
    }
  } finally {
    await service.stop();
  }
});
