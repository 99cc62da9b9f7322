/** The SDK in a browser's world: bundled for one, and run where only what browsers have is there. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createContext, runInContext } from 'node:vm';
import { build } from 'esbuild';
import { WebSocket } from 'ws';
import { type Service, startService, TOKEN } from '../support/service.ts';

const ENTRY = join(import.meta.dirname, '../../src/client/index.ts');

describe('the SDK in browsers', () => {
  let service: Service;
  let text: string;
  before(async () => {
    service = await startService();
    const bundle = await build({
      entryPoints: [ENTRY],
      bundle: true,
      minify: true,
      platform: 'browser',
      target: 'es2022',
      format: 'iife',
      globalName: 'lastseen',
      write: false,
      logLevel: 'silent',
    });
    text = bundle.outputFiles[0]?.text ?? '';
  });
  after(() => service.stop());

  it('is one small file that asks for nothing of Node', (context) => {
    assert.ok(text.length > 1_000 && text.length < 30_000, `${text.length} characters`);
    context.diagnostic(`${text.length} characters, minified`);
    assert.doesNotMatch(text, /node:|\brequire\(|\bprocess\b|\bBuffer\b/);
  });

  it('pushes, subscribes and keeps tokens with what browsers have', async () => {
    const world = createContext({
      AbortController,
      AbortSignal,
      TextDecoderStream,
      TextEncoder,
      URLSearchParams,
      WebSocket,
      atob,
      btoa,
      clearTimeout,
      crypto,
      fetch,
      performance,
      setTimeout,
    });
    runInContext(text, world);
    const script = `(async () => {
      const { createPublisher, createTokenCache, subscribe } = lastseen;
      const cache = createTokenCache({ issue: async () => ({ access_token: token, expires_in: 900 }) });
      const publisher = createPublisher({ url, token: () => cache.token() });
      await publisher.push([1, 2, 3].map((payload) => ({ accessId: 'browser', createdAt: 1, payload })));
      const seen = [];
      for await (const event of subscribe({ url, token: () => cache.token(), accessId: 'browser', after: 'start' })) {
        seen.push(event.payload);
        if (seen.length === 3) break;
      }
      await publisher.close();
      cache.close();
      return JSON.stringify(seen);
    })()`;
    const result: unknown = await (runInContext(
      script,
      Object.assign(world, { url: service.url, token: TOKEN }),
    ) as Promise<unknown>);
    assert.equal(result, '[1,2,3]');
  });
});
