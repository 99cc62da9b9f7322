/** The SDK in a real browser: through a network that cuts, delays and swallows, and the page of the examples. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import type { Browser, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.ts';
import { missing } from '../support/programs.ts';
import { type Proxy, startProxy } from '../support/proxy.ts';
import { type Service, startService, TOKEN } from '../support/service.ts';
import { PATIENCE_MS } from '../support/until.ts';

const CHAOS_MS = 4_000;
const ROOT = join(import.meta.dirname, '../..');

/** Runs in the page: one publisher, and a subscriber over each transport. */
const PAGE_SCRIPT = `async ([token, milliseconds, patienceMs]) => {
  const sdk = await import('/client.js');
  const url = location.origin;
  const silenceMs = 1500;
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const stop = new AbortController();
  const seen = [];
  const reading = ['websocket', 'stream', 'poll', 'websocket'].map(async (transport) => {
    const versions = [];
    seen.push(versions);
    const options = { url, token, accessId: 'page', after: 'start', silenceMs, signal: stop.signal, transports: [transport] };
    for await (const event of sdk.subscribe(options)) versions.push(event.version);
  });
  const publisher = sdk.createPublisher({ url, token, requestTimeoutMs: silenceMs });
  const answers = [];
  const until = Date.now() + milliseconds;
  while (Date.now() < until || answers.length < 200) {
    answers.push(publisher.push({ accessId: 'page', createdAt: 1, payload: answers.length }));
    await pause(5);
  }
  await publisher.close();
  const pushed = (await Promise.all(answers)).filter(([one]) => one.ok).length;
  const deadline = Date.now() + patienceMs;
  while (seen.some((versions) => versions.length < pushed) && Date.now() < deadline) await pause(50);
  stop.abort();
  await Promise.all(reading);
  return { pushed, sent: answers.length, seen };
}`;

describe('the SDK in Chromium', { skip: missing('Chromium') }, () => {
  let service: Service;
  let proxy: Proxy;
  let browser: Browser;
  let sdk: string;
  let origin: string;
  before(async () => {
    service = await startService();
    proxy = await startProxy(service.port);
    origin = `http://127.0.0.1:${proxy.port}`;
    browser = await launchChromium();
    const bundle = await build({
      entryPoints: [join(ROOT, 'src/client/index.ts')],
      bundle: true,
      format: 'esm',
      target: 'es2022',
      write: false,
      logLevel: 'silent',
    });
    sdk = bundle.outputFiles[0]?.text ?? '';
  });
  after(async () => {
    await browser.close();
    await proxy.close();
    await service.stop();
  });

  /** A page of the server's own origin, whatever becomes of the network. */
  async function open(html: string): Promise<Page> {
    const page = await browser.newPage();
    await page.route(`${origin}/page.html`, (route) =>
      route.fulfill({ contentType: 'text/html', body: html }),
    );
    await page.route(`${origin}/client.js`, (route) =>
      route.fulfill({ contentType: 'text/javascript', body: sdk }),
    );
    await page.goto(`${origin}/page.html`);
    return page;
  }

  it('G3, G5: what pages push, pages receive, each event once and in order', async () => {
    const page = await open('<!doctype html><title>chaos</title>');
    const chaos = { isOver: false };
    const raging = (async () => {
      while (!chaos.isOver) {
        await sleep(100 + Math.random() * 400);
        const dice = Math.random();
        if (dice < 0.5) {
          proxy.cut();
        } else if (dice < 0.8) {
          proxy.delay(Math.random() * 800);
        } else {
          proxy.swallow();
        }
      }
    })();
    const result = page.evaluate<{ pushed: number; sent: number; seen: number[][] }>(
      `(${PAGE_SCRIPT})(${JSON.stringify([TOKEN, CHAOS_MS, PATIENCE_MS])})`,
    );
    await sleep(CHAOS_MS);
    chaos.isOver = true;
    await raging;
    const { pushed, sent, seen } = await result;
    assert.ok(pushed > 100);
    assert.equal(pushed, sent);
    for (const versions of seen) {
      assert.deepEqual(
        versions,
        Array.from({ length: pushed }, (_, at) => at + 1),
      );
    }
    await page.close();
  });

  it('the page of the examples goes on where it was, offline or opened again', async () => {
    const html = readFileSync(join(ROOT, 'docs/examples/page.html'), 'utf8');
    const page = await open(html);
    const texts = (): Promise<string[]> => page.locator('#events li').allTextContents();
    const follow = async (): Promise<void> => {
      await page.fill('[name=accessId]', 'shown');
      await page.fill('[name=token]', TOKEN);
      await page.click('button');
    };
    const push = (payload: string): Promise<void> =>
      service.push({ accessid: 'shown', created_at: 1, payload });
    await push('one');
    await follow();
    await page.waitForFunction(`document.querySelectorAll('#events li').length === 1`);
    await page.context().setOffline(true);
    proxy.cut();
    await page.waitForFunction(`/reconnecting/.test(document.querySelector('#state')?.textContent ?? '')`);
    await push('two');
    await page.context().setOffline(false);
    await page.waitForFunction(`document.querySelectorAll('#events li').length === 2`);
    assert.deepEqual(await texts(), ['2 · "two"', '1 · "one"']);
    await page.waitForFunction(`localStorage.getItem('lastseen:shown') !== null`);
    await page.reload();
    await push('three');
    await follow();
    await page.waitForFunction(`document.querySelectorAll('#events li').length > 0`);
    // The second event was taken when the loop asked for the third, which the page before never saw.
    assert.ok((await texts()).includes('3 · "three"'));
    await page.close();
  });
});
