/** The backend and the page of docs/getting-started.md: short-lived tokens, renewed on the open socket, ended by a sign-out. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { build } from 'esbuild';
import type { Browser } from 'playwright-core';
import { WebSocket } from 'ws';
import { ClientError, subscribe } from '../../src/client/index.ts';
import { launchChromium } from '../support/chromium.ts';
import { readBlocks, ROOT } from '../support/document.ts';
import { missing } from '../support/programs.ts';
import { type Service, startService } from '../support/service.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';

const TOKEN_SECONDS = 2;

describe('the backend of getting started', () => {
  let service: Service;
  let directory: TemporaryDirectory;
  let backend: ChildProcess;
  let origin: string;
  before(async () => {
    service = await startService({ LASTSEEN_ORIGINS: '^http://127\\.0\\.0\\.1:\\d+' });
    directory = temporaryDirectory();
    const path = (...parts: string[]): string => join(directory.path, ...parts);
    // The SDK as the package has it, and as the guide bundles it for the page.
    mkdirSync(path('node_modules/lastseen'), { recursive: true });
    for (const outfile of ['client.js', 'node_modules/lastseen/client.js']) {
      await build({
        entryPoints: [join(ROOT, 'src/client/index.ts')],
        bundle: true,
        format: 'esm',
        target: 'es2022',
        outfile: path(outfile),
        logLevel: 'silent',
      });
    }
    const manifest = { name: 'lastseen', type: 'module', exports: { './client': './client.js' } };
    writeFileSync(path('node_modules/lastseen/package.json'), JSON.stringify(manifest));
    for (const name of ['backend.mjs', 'backend.html']) {
      copyFileSync(join(ROOT, 'docs/examples', name), path(name));
    }
    const response = await service.post('/oauth/clients', {
      name: 'backend',
      scope: 'admin',
      access_ids: ['*'],
    });
    const client = (await response.json()) as { client_id: string; client_secret: string };
    backend = spawn(process.execPath, ['backend.mjs'], {
      cwd: directory.path,
      env: {
        PATH: process.env['PATH'],
        PORT: '0',
        TOKEN_SECONDS: String(TOKEN_SECONDS),
        LASTSEEN_URL: service.url,
        LASTSEEN_CLIENT_ID: client.client_id,
        LASTSEEN_CLIENT_SECRET: client.client_secret,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    assert.ok(backend.stdout !== null);
    for await (const line of createInterface({ input: backend.stdout })) {
      origin = /^open (http:\S+)$/.exec(line)?.[1] ?? '';
      break;
    }
    assert.notEqual(origin, '');
  });
  after(async () => {
    backend.kill('SIGTERM');
    await once(backend, 'exit');
    await service.stop();
    directory.remove();
  });

  async function post(path: string, body: unknown = {}, cookie = ''): Promise<Response> {
    return fetch(origin + path, { method: 'POST', headers: { cookie }, body: JSON.stringify(body) });
  }

  async function signIn(name: string): Promise<string> {
    const response = await post('/login', { name });
    assert.deepEqual(await response.json(), { url: service.url, accessId: `user/${name}` });
    return response.headers.get('set-cookie')?.split(';')[0] ?? '';
  }

  async function tokenOf(cookie: string): Promise<string> {
    const body = (await (await post('/token', {}, cookie)).json()) as Record<string, string>;
    assert.deepEqual(Object.keys(body), ['token']);
    return body['token'] ?? '';
  }

  it('gives no token to a browser that is not signed in', async () => {
    for (const path of ['/token', '/hello', '/logout']) {
      assert.equal((await post(path)).status, 401, path);
    }
  });

  it('a token reads its own feed, and nothing else', async () => {
    const token = await tokenOf(await signIn('grace'));
    const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
      fetch(service.url + path, { ...init, headers: { Authorization: `Bearer ${token}` } });
    assert.equal((await ask('/events?access_id=user/grace')).status, 200);
    assert.equal((await ask('/events?access_id=user/ada')).status, 403);
    assert.equal((await ask('/tokens')).status, 403);
    assert.equal((await ask('/push_events', { method: 'POST' })).status, 403);
  });

  it('a subscription outlives its tokens on one socket, until the user signs out', async () => {
    const cookie = await signIn('ada');
    const states: string[] = [];
    let tokens = 0;
    const versions: number[] = [];
    const reading = (async () => {
      for await (const event of subscribe({
        url: service.url,
        accessId: 'user/ada',
        after: 'start',
        transports: ['websocket'],
        WebSocket,
        token: async () => {
          tokens += 1;
          const token = await tokenOf(cookie);
          if (tokens === 3) {
            await post('/hello', { text: 'with the third token' }, cookie);
          }
          return token;
        },
        onState: ({ name }) => states.push(name),
      })) {
        versions.push(event.version);
        if (event.version === 2) {
          await post('/logout', {}, cookie);
        }
      }
    })();
    assert.equal((await post('/hello', { text: 'hello' }, cookie)).status, 200);
    await assert.rejects(
      reading,
      (error) => error instanceof ClientError && ['ERR_REFUSED', 'ERR_DROPPED'].includes(error.code),
    );
    assert.deepEqual(versions, [1, 2]);
    assert.deepEqual(states, ['connecting', 'catching-up', 'live', 'closed']);
    assert.equal((await post('/token', {}, cookie)).status, 401);
  });

  it('getting started quotes the examples as they are', () => {
    const examples = ['backend.mjs', 'backend.html'].map((name) =>
      readFileSync(join(ROOT, 'docs/examples', name), 'utf8'),
    );
    const quotes = readBlocks('docs/getting-started.md').filter(({ language }) => language === 'js');
    assert.equal(quotes.length, 2);
    quotes.forEach(({ text }, index) => {
      assert.ok(examples[index]?.includes(text), text);
    });
  });

  describe('in Chromium', { skip: missing('Chromium') }, () => {
    let browser: Browser;
    before(async () => {
      browser = await launchChromium();
    });
    after(() => browser.close());

    it('the page shows what is pushed, resumes after a reload, and ends when the user signs out', async () => {
      const page = await browser.newPage();
      await page.goto(origin);
      const isLive = `document.querySelector('#state').textContent === 'live'`;
      const shows = (count: number): string => `document.querySelectorAll('#events li').length === ${count}`;
      await page.fill('[name=name]', 'linus');
      await page.click('#login button');
      await page.waitForFunction(isLive);
      for (const count of [1, 2]) {
        await page.click('#hello button');
        await page.waitForFunction(shows(count));
      }
      await page.reload();
      await page.fill('[name=name]', 'linus');
      await page.click('#login button');
      await page.waitForFunction(isLive);
      await page.click('#hello button');
      await page.waitForFunction(`document.querySelector('#events li[value="3"]') !== null`);
      const versions = await page.evaluate<string>(
        `[...document.querySelectorAll('#events li')].map((item) => item.value).join()`,
      );
      // The last event before the reload comes again if the loop had not asked for the next one.
      assert.ok(['3', '2,3'].includes(versions), versions);
      await page.click('#logout');
      await page.waitForFunction(`/^ERR_/.test(document.querySelector('#state').textContent)`);
      await page.close();
    });
  });
});
