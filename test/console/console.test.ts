/** The console in a real browser, against a real server behind a proxy that can cut. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import axe from 'axe-core';
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import { launchChromium } from '../support/chromium.ts';
import { missing } from '../support/programs.ts';
import { type Proxy, startProxy } from '../support/proxy.ts';
import { connect, type Service, startService, TOKEN } from '../support/service.ts';
import { PATIENCE_MS, until } from '../support/until.ts';

interface AxeResults {
  readonly violations: readonly {
    readonly id: string;
    readonly impact: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
  }[];
}

describe('the page by itself', () => {
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  it('is served without a token, may talk to this server only, and is kept until it changes', async () => {
    for (const path of [
      '/console',
      '/console/',
      '/console/app.js',
      '/console/app.css',
      '/console/icon.svg',
    ]) {
      const response = await fetch(service.url + path);
      assert.equal(response.status, 200, path);
      const policy = response.headers.get('content-security-policy') ?? '';
      assert.match(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/);
      assert.doesNotMatch(policy, /unsafe|\*|data:|http/);
      assert.match(policy, /frame-ancestors 'none'/);
      assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
      const tag = response.headers.get('etag') ?? '';
      const again = await fetch(service.url + path, { headers: { 'If-None-Match': tag } });
      assert.equal(again.status, 304, path);
    }
  });

  it('gives no other file', async () => {
    for (const path of ['/console/nothing.js', '/console/..%2f..%2fpackage.json', '/console/a/b']) {
      assert.equal((await fetch(service.url + path)).status, 404, path);
    }
    assert.equal((await fetch(`${service.url}/console`, { method: 'POST' })).status, 405);
  });
});

describe('the console in a browser', { skip: missing('Chromium') }, () => {
  let service: Service;
  let proxy: Proxy;
  let browser: Browser;
  let context: BrowserContext;
  let page: Page;
  /** What the browser complained of: the policy among it. */
  const complaints: string[] = [];

  before(async () => {
    service = await startService();
    proxy = await startProxy(service.port);
    browser = await launchChromium();
    context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: 'light' });
    context.setDefaultTimeout(PATIENCE_MS);
    page = await context.newPage();
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => {
      if (/Content Security Policy|Refused to/i.test(message.text())) {
        complaints.push(message.text());
      }
    });
    await page.goto(`http://127.0.0.1:${proxy.port}/console`);
  });
  after(async () => {
    await browser.close();
    await proxy.close();
    await service.stop();
  });

  const button = (name: string | RegExp): Locator => page.getByRole('button', { name, exact: true });
  const status = (name: string): Locator => page.getByRole('status', { name, exact: true });
  const show = (view: string): Promise<void> =>
    page.getByRole('navigation').getByRole('link', { name: view }).click();

  /** Waits until the text fits. */
  async function reads(locator: Locator, expected: RegExp): Promise<string> {
    await locator.filter({ hasText: expected }).first().waitFor();
    return (await locator.first().textContent()) ?? '';
  }

  /** Nothing that axe calls serious, and nothing wider than the screen. */
  async function requireAccessible(where: string): Promise<void> {
    if ((await page.evaluate('typeof axe')) === 'undefined') {
      await page.evaluate(axe.source);
    }
    const { violations } = await page.evaluate<AxeResults>("axe.run({ resultTypes: ['violations'] })");
    const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    const told = serious.map(({ id, nodes }) => {
      const places = nodes.map(({ html, failureSummary }) => `${html} ${failureSummary ?? ''}`);
      return `${where}: ${id}: ${places.join('\n')}`;
    });
    assert.deepEqual(told, []);
    const { scrollWidth, clientWidth } = await page.evaluate<{ scrollWidth: number; clientWidth: number }>(
      '({ scrollWidth: document.documentElement.scrollWidth, clientWidth: document.documentElement.clientWidth })',
    );
    assert.equal(scrollWidth, clientWidth, `${where} is wider than the screen`);
  }

  it('a wrong token is refused with the reason; the right one opens, and stays in memory only', async () => {
    await page.getByLabel('Token').fill('wrong');
    await page.keyboard.press('Enter');
    await reads(page.getByRole('alert'), /ERR_UNAUTHENTICATED/);
    await requireAccessible('the door');
    await page.getByLabel('Token').fill(TOKEN);
    await page.keyboard.press('Enter');
    await page.getByRole('navigation').waitFor();
    const kept = await page.evaluate<string>(
      'JSON.stringify([Object.values(localStorage), Object.values(sessionStorage), document.cookie, location.href])',
    );
    assert.doesNotMatch(kept, new RegExp(TOKEN));
  });

  it('a feed is followed, and what is pushed in the page comes in it', async () => {
    await service.push({ accessid: 'client1', created_at: 1, payload: 'from before' });
    await page.getByLabel('access_id', { exact: true }).fill('client1');
    await button('Follow').click();
    await reads(status('State of the feed'), /Live/);
    await page.getByLabel('Payload, any JSON').fill('{"big": 9007199254740993}');
    await button('Push').click();
    await reads(status('Result of the push'), /On disk as version 2\./);
    // Letter for letter, white space aside.
    await reads(page.locator('.events'), /\{"big":9007199254740993\}.*"from before"/s);
    assert.equal(await page.locator('[data-fact=version]').textContent(), '2');
    await page.getByLabel('Payload, any JSON').fill('{oops');
    await button('Push').click();
    await reads(page.getByRole('alert'), /not JSON/);
  });

  it('a connection that is cut comes back by itself, says after how long, and has missed nothing', async () => {
    await reads(status('Resume'), /Not interrupted so far/);
    const before = proxy.accepted;
    proxy.cut();
    await service.push(...[3, 4, 5].map((n) => ({ accessid: 'client1', created_at: n, payload: n })));
    await reads(status('Resume'), /Resumed after [\d,]+ ms, \d events? caught up, nothing missed/);
    await reads(page.locator('[data-fact=version]'), /^5$/);
    await reads(status('State of the feed'), /Live/);
    assert.ok(proxy.accepted > before);
    const shown = await page.locator('.events .version').allTextContents();
    assert.deepEqual(shown, ['5', '4', '3', '2', '1']);
    const { cursor } = await service.page('client1');
    assert.equal(await page.locator('[data-fact=cursor]').textContent(), cursor);
  });

  it('G13: a cursor of a lost history is refused in plain words, and reading continues from what is common', async () => {
    const { events } = await service.page('client1');
    const common = events[1]?.cursor ?? '';
    // No event of this log has this tag.
    const lost = (events[3]?.cursor ?? '').replace(/[^.]+$/, '1');
    await page.getByLabel('Begin').selectOption('cursor');
    await page.getByLabel('Cursor', { exact: true }).fill(lost);
    await button('Follow').click();
    const notice = page.getByRole('group', { name: 'Refused cursor' });
    await reads(notice, /has lost events.*cannot prove any of the events/);
    await requireAccessible('a refused cursor');
    await button('Read from the oldest event').click();
    await reads(page.locator('[data-fact=version]'), /^5$/);

    // A page of its own: a WebSocket that a test answers stays so for the life of the page.
    const other = await context.newPage();
    let hasRefused = false;
    await other.routeWebSocket(/subscribe_to_events/, (socket) => {
      if (hasRefused) {
        socket.connectToServer();
        return;
      }
      hasRefused = true;
      socket.onMessage(() => {
        const floor = events[0]?.cursor;
        const refusal = { code: 'ERR_CURSOR_DIVERGED', detail: 'lost', floor, common, common_by: 'term' };
        socket.send(JSON.stringify({ type: 'error', access_id: 'client1', ...refusal }));
        void socket.close({ code: 4501, reason: 'cursor refused' });
      });
    });
    await other.goto(`http://127.0.0.1:${proxy.port}/console`);
    await other.getByLabel('Token').fill(TOKEN);
    await other.keyboard.press('Enter');
    await other.getByLabel('access_id', { exact: true }).fill('client1');
    await other.getByRole('button', { name: 'Follow', exact: true }).click();
    await reads(
      other.getByRole('group', { name: 'Refused cursor' }),
      /What was read from version 3 on must count as not having happened/,
    );
    await other.getByRole('button', { name: 'Continue from the last common event' }).click();
    await reads(other.locator('[data-fact=version]'), /^5$/);
    assert.deepEqual(await other.locator('.events .version').allTextContents(), ['5', '4', '3']);
    await other.close();
  });

  it('SQL is asked from the keyboard; the result is a table, a plot and a file', async () => {
    await show('Query');
    await page.getByRole('textbox', { name: 'SQL' }).click();
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.insertText('select version, position from events order by version');
    await page.keyboard.press('ControlOrMeta+Enter');
    await reads(status('Result'), /^5 rows in/);
    const cells = await page.getByRole('region', { name: 'Rows' }).locator('td').allTextContents();
    assert.deepEqual(cells, ['1', '1', '2', '2', '3', '3', '4', '4', '5', '5']);
    const downloading = page.waitForEvent('download');
    await button('Download CSV').click();
    const file = await (await downloading).path();
    assert.equal(await readFile(file, 'utf8'), 'version,position\r\n1,1\r\n2,2\r\n3,3\r\n4,4\r\n5,5\r\n');
    await button('Plot').click();
    await page.getByRole('img', { name: 'position against version, 5 points' }).locator('canvas').waitFor();
  });

  it('a refused query says why, and Tab leaves the editor', async () => {
    await page.getByRole('textbox', { name: 'SQL' }).click();
    await page.keyboard.press('ControlOrMeta+a');
    await page.keyboard.insertText('delete from events');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate('document.activeElement.textContent'), 'Run');
    await page.keyboard.press('Enter');
    await reads(page.getByRole('alert'), /ERR_/);
    assert.match((await page.locator('.recall').last().textContent()) ?? '', /delete from eventsrefused/);
  });

  it('what flows is drawn from the metrics', async () => {
    await show('Flow');
    await page.getByRole('img', { name: 'Events appended a second, over time' }).locator('canvas').waitFor();
    await reads(page.locator('.tiles'), /since the start/);
    const ingest = page.locator('.tiles > div').filter({ hasText: /^Ingest/ });
    const shown = await reads(ingest, /\/s/);
    // The feed's five, and the question of the test itself has put nothing into the log.
    assert.match(shown, /5 since the start/);
    await reads(page.locator('.chips'), /ERR_UNAUTHENTICATED 1/);
  });

  it('who is connected is shown, asked about before it is dropped, and dropped', async () => {
    const other = await connect(service.port, { headers: { Authorization: `Bearer ${TOKEN}` } });
    other.send({ access_id: 'kiosk', after: 'start' });
    await other.typed('live');
    await show('Connected');
    await button('Drop kiosk').click();
    await page.getByRole('dialog').waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await button('Drop kiosk').click();
    await page.getByRole('dialog').getByRole('button', { name: 'Drop' }).click();
    assert.deepEqual(await other.closed(), [1000, 'close']);
    await reads(status('What was done'), /kiosk was dropped on every node/);
    await button('Drop kiosk').waitFor({ state: 'detached' });
    // The console's own feed lives on.
    await button('Drop client1').waitFor();
  });

  it('a token is made, shown once, and revoked: what lives on it is closed', async () => {
    await show('Access');
    await button('New token').click();
    await page.getByLabel('Holder (sub)').fill('ada');
    await page.getByLabel('access_ids').fill('ada, shop/*');
    await button('Make').click();
    const token = (await page.getByRole('dialog').locator('code').first().textContent()) ?? '';
    assert.match(token, /^ey/);
    await button('Done').click();
    const reader = await connect(service.port, { headers: { Authorization: `Bearer ${token}` } });
    reader.send({ access_id: 'shop/1', after: 'now' });
    await reader.typed('live');
    assert.doesNotMatch((await page.locator('body').textContent()) ?? '', new RegExp(token.slice(-20)));
    await button('Revoke the token of ada').click();
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
    assert.equal((await reader.closed())[0], 4500);
    await reads(status('Tokens: what was done'), /revoked/);
  });

  it('a client is made and removed, and a fault in the form is told by the server', async () => {
    await button('New client').click();
    await page.getByLabel('Name', { exact: true }).fill('connector');
    await page.getByLabel('access_ids').fill('a'.repeat(300));
    await button('Make').click();
    await reads(page.getByRole('alert'), /ERR_REQUEST_INVALID/);
    await page.getByLabel('access_ids').fill('shop/*');
    await button('Make').click();
    await page.getByRole('dialog').locator('code').nth(1).waitFor();
    const [id = '', secret = ''] = await page.getByRole('dialog').locator('code').allTextContents();
    const granted = await fetch(`${service.url}/oauth/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'client_credentials', client_id: id, client_secret: secret }),
    });
    assert.equal(granted.status, 200);
    await button('Done').click();
    await button('Remove the client of connector').click();
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
    await reads(status('Clients: what was done'), /removed/);
  });

  it('a user is registered, given a token, and removed', async () => {
    await show('Users');
    await page.getByLabel('New user').fill('no');
    await button('Register').click();
    await reads(page.getByRole('alert'), /3 to 20 characters/);
    await page.getByLabel('New user').fill('Grace');
    await button('Register').click();
    await button('Give Grace a token').click();
    const token = (await page.getByRole('dialog').locator('code').first().textContent()) ?? '';
    const id = (await page.getByRole('region', { name: 'Users found' }).locator('code').textContent()) ?? '';
    const read = await fetch(`${service.url}/events?access_id=${id}`, {
      headers: { Authorization: `Bearer ${token}` },
    });
    assert.equal(read.status, 200);
    await button('Done').click();
    await button('Remove Grace').click();
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click();
    await reads(status('What was done').last(), /Grace was removed/);
  });

  for (const theme of ['light', 'dark'] as const) {
    for (const width of [1280, 390]) {
      it(`no view has a serious fault for those who cannot see or point: ${theme}, ${width} pixels`, async () => {
        await page.setViewportSize({ width, height: 850 });
        await page.emulateMedia({ colorScheme: theme });
        for (const view of ['Tail', 'Connected', 'Query', 'Flow', 'Users', 'API', 'Access']) {
          await show(view);
          await page.getByRole('heading', { level: 1, name: view }).waitFor();
          await requireAccessible(`${view}, ${theme}, ${width}`);
        }
        await button('New token').click();
        await page.getByLabel('Holder (sub)').waitFor();
        await requireAccessible(`a form, ${theme}, ${width}`);
        await button('New token').click();
        await show('Connected');
        await button('Drop client1').click();
        await page.getByRole('dialog').waitFor();
        await requireAccessible(`a question, ${theme}, ${width}`);
        await page.keyboard.press('Escape');
        await page.getByRole('dialog').waitFor({ state: 'detached' });
      });
    }
  }

  it('what is served can be read: routes, wires, what they ask for', async () => {
    await show('API');
    const route = page.locator('details', { hasText: '/push_events' }).first();
    await route.locator('summary').click();
    await reads(route, /scope push/);
    await reads(route, /"created_at": integer/);
    await reads(route, /ERR_ID_CONFLICT/);
    await page.getByLabel('Filter').last().fill('fedecks');
    await reads(page.locator('.wires').last(), /\/fedecks\/websocket/);
    assert.equal(await page.locator('details.wire', { hasText: '/push_events' }).count(), 0);
    await page.getByLabel('Filter').last().fill('');
  });

  it('the switch turns dark into light', async () => {
    const background = (): Promise<string> =>
      page.evaluate('getComputedStyle(document.body).backgroundColor');
    const dark = await background();
    await button('Dark').click();
    await until(async () => (await background()) !== dark, 'the light theme');
    await button('Dark').click();
    await until(async () => (await background()) === dark, 'the dark theme');
  });

  it('signing out forgets the token and lets go of the feed', async () => {
    await button('Sign out').click();
    await page.getByLabel('Token').waitFor();
    assert.equal(await page.getByLabel('Token').inputValue(), '');
    await until(async () => {
      const clients = (await (await service.fetch('/clients')).json()) as unknown[];
      return clients.length === 0;
    }, 'the feed to be closed');
  });

  it('a token with fewer scopes opens what it may, and the rest says what is missing', async () => {
    const made = await service.post('/tokens', { scope: 'subscribe', access_ids: ['client1'] });
    const { access_token: token } = (await made.json()) as { access_token: string };
    await page.getByLabel('Token').fill(token);
    await page.keyboard.press('Enter');
    await show('Tail');
    await page.getByLabel('access_id', { exact: true }).fill('client1');
    await button('Follow').click();
    await reads(status('State of the feed'), /Live/);
    await show('Users');
    await reads(
      page.getByRole('alert'),
      /lacks the scope "admin".*Sign in with a token that has this scope/s,
    );
    await show('Tail');
    await page.getByLabel('access_id', { exact: true }).fill('other');
    await button('Follow').click();
    await reads(page.getByRole('alert'), /does not cover/);
    await button('Sign out').click();
  });

  it('a token that no socket of a browser can carry follows a feed by an event stream', async () => {
    const other = await startService({ LASTSEEN_ADMIN_TOKEN: 'of/its=own' });
    try {
      await page.goto(`${other.url}/console`);
      await page.getByLabel('Token').fill('of/its=own');
      await page.keyboard.press('Enter');
      await page.getByLabel('access_id', { exact: true }).fill('client1');
      await button('Follow').click();
      await reads(status('State of the feed'), /Live/);
      await reads(page.locator('.place dd'), /^stream$/);
      await button('Push').click();
      await reads(page.locator('[data-fact=version]'), /^1$/);
      await page.goto('about:blank');
    } finally {
      await other.stop();
    }
  });

  it('the browser had nothing to complain of: no fault in the script, nothing against the policy', () => {
    assert.deepEqual(complaints, []);
  });
});
