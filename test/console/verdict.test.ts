/** The console's tail when the log has lost events that the page shows. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import axe from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.ts';
import { copyLog } from '../support/log-copy.ts';
import { missing } from '../support/programs.ts';
import { type Proxy, startProxy } from '../support/proxy.ts';
import { type Service, startService, TOKEN } from '../support/service.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { PATIENCE_MS } from '../support/until.ts';

describe('a verdict in the console', { skip: missing('Chromium') }, () => {
  let directory: TemporaryDirectory;
  let service: Service;
  let proxy: Proxy;
  let browser: Browser;
  let page: Page;
  const path = (): string => join(directory.path, 'log.db');

  before(async () => {
    directory = temporaryDirectory();
    service = await startService({}, path());
    proxy = await startProxy(service.port);
    browser = await launchChromium();
    page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
  });
  after(async () => {
    await browser.close();
    await proxy.close();
    await service.stop();
    directory.remove();
  });

  const push = (...payloads: string[]): Promise<void> =>
    service.push(...payloads.map((payload) => ({ accessid: 'client1', created_at: 1, payload })));
  const versions = (): Promise<string[]> => page.locator('.events .version').allTextContents();
  const reachesVersion = (version: number): Promise<void> =>
    page
      .locator('[data-fact=version]')
      .filter({ hasText: new RegExp(`^${version}$`) })
      .waitFor();

  it('G13: says in plain words which versions did not happen, and continues from the common place or the floor', async () => {
    await push('a1');
    await push('a2');
    copyLog(path(), `${path()}.copy`);
    await push('b3');
    await push('b4');
    await page.goto(`http://127.0.0.1:${proxy.port}/console`);
    await page.getByLabel('Token').fill(TOKEN);
    await page.keyboard.press('Enter');
    await page.getByLabel('access_id', { exact: true }).fill('client1');
    await page.getByRole('button', { name: 'Follow', exact: true }).click();
    await reachesVersion(4);

    await service.stop();
    copyLog(`${path()}.copy`, path());
    service = await startService({}, path());
    for (const payload of ['c3', 'c4', 'c5']) {
      await push(payload);
    }
    proxy.redirect(service.port);
    const alert = page.getByRole('alert');
    await alert.waitFor();
    const text = (await alert.textContent()) ?? '';
    assert.match(text, /The log has lost events .*ERR_CURSOR_DIVERGED/);
    assert.match(text, /The versions 3 to 4 of client1 did not happen/);
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate<{ violations: { id: string; impact: string }[] }>('axe.run()');
    assert.deepEqual(
      violations.filter(({ impact }) => impact === 'serious' || impact === 'critical'),
      [],
    );

    await page.getByRole('button', { name: 'Continue from the common place' }).click();
    await reachesVersion(5);
    assert.deepEqual(await versions(), ['5', '4', '3']);
    assert.equal(await alert.count(), 0);
    assert.match((await page.locator('.events').textContent()) ?? '', /c5.*c4.*c3/);
  });

  it('a text that is no cursor is said to be none, and the floor is offered', async () => {
    await page.getByLabel('Begin').selectOption('cursor');
    await page.getByLabel('Cursor', { exact: true }).fill('nonsense');
    await page.getByRole('button', { name: 'Follow', exact: true }).click();
    const alert = page.getByRole('alert');
    await alert.filter({ hasText: 'The text is no cursor of this server.' }).waitFor();
    assert.equal(await page.getByRole('button', { name: 'Continue from the common place' }).count(), 0);
    await page.getByRole('button', { name: 'Read from the floor' }).click();
    await reachesVersion(5);
    assert.deepEqual(await versions(), ['5', '4', '3', '2', '1']);
  });
});
