/** What the commands say when the log has lost events, or when the outcome of a push is not known. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { startFakeLog } from '../client/fake-log.ts';
import { copyLog } from '../support/log-copy.ts';
import { runCommand } from '../support/process.ts';
import { type Service, startService } from '../support/service.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

describe('the command line when outcomes change', () => {
  let directory: TemporaryDirectory;
  let service: Service | undefined;
  before(() => {
    directory = temporaryDirectory();
  });
  after(async () => {
    await stop();
    directory.remove();
  });

  const file = (name: string): string => join(directory.path, name);

  async function stop(): Promise<void> {
    await service?.stop();
    service = undefined;
  }

  async function startOn(path: string, ...payloads: string[]): Promise<Service> {
    service = await startService({}, path);
    for (const payload of payloads) {
      await service.push({ accessid: 'tailed', created_at: 1, payload });
    }
    return service;
  }

  async function tail(
    url: string,
    ...options: string[]
  ): Promise<{ code: number | null; stderr: string; payloads: unknown[] }> {
    const args = ['tail', 'tailed', '--no-follow', '--state', file('state.json'), ...options];
    const { code, stdout, stderr } = await runCommand(args, { LASTSEEN_URL: url });
    const payloads = stdout
      .split('\n')
      .filter(Boolean)
      .map((text) => (JSON.parse(text) as { payload: unknown }).payload);
    return { code, stderr, payloads };
  }

  it('G13: tail says which versions did not happen and how to continue, keeps its state, and exits with 1', async () => {
    await startOn(file('log.db'), 'a1', 'a2', 'a3', 'a4');
    await stop();
    copyLog(file('log.db'), file('copy.db'));
    const { url } = await startOn(file('log.db'), 'b5', 'b6');
    assert.deepEqual((await tail(url)).payloads, ['a1', 'a2', 'a3', 'a4', 'b5', 'b6']);

    await stop();
    copyLog(file('copy.db'), file('log.db'));
    const restored = await startOn(file('log.db'), 'c5', 'c6', 'c7');
    const state = readFileSync(file('state.json'), 'utf8');
    const refused = await tail(restored.url);
    assert.equal(refused.code, 1);
    assert.deepEqual(refused.payloads, []);
    assert.match(
      refused.stderr,
      /^lastseen: ERR_CURSOR_DIVERGED: the cursor belongs to a history .*\nTreat the versions 5 to 6 of "tailed" as not having happened.*\nTo continue at the last place known to be in the log: --after \S+\nTo continue with the oldest event of the log: --after \S+\n$/,
    );
    assert.equal(readFileSync(file('state.json'), 'utf8'), state);
    assert.equal((await tail(restored.url)).code, 1, 'the next run gets the same verdict');

    const common = /in the log: --after (\S+)/.exec(refused.stderr)?.[1] ?? '';
    assert.deepEqual((await tail(restored.url, '--after', common)).payloads, ['c5', 'c6', 'c7']);
    assert.deepEqual(await tail(restored.url), { code: 0, stderr: '', payloads: [] });
  });

  it('G14: push says when it is not known whether the event was appended', async () => {
    const refused = { answer: { status: 401, code: 'ERR_UNAUTHENTICATED' } };
    for (const [script, hint] of [
      [[{ appends: true, answer: 'cut' as const }, refused], true],
      [[refused], false],
    ] as const) {
      const log = await startFakeLog(script);
      const line = '{"access_id":"a","created_at":1,"payload":1}';
      const { code, stderr } = await runCommand(['push'], { LASTSEEN_URL: log.url }, line);
      await log.close();
      assert.equal(code, 1);
      assert.match(stderr, /event 1 failed: 401 no \(0 events were pushed\)/);
      assert.equal(
        stderr.includes('It is not known whether the event was appended. Push the same input again'),
        hint,
      );
    }
  });
});
