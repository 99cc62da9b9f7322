/** The package as `npm pack` makes it, installed in an empty directory: the command, the SDK, its types, the examples. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import Database from 'better-sqlite3';
import { build } from 'esbuild';
import { createPublisher } from '../../src/client/index.ts';
import { installPackage, NPM_ENVIRONMENT } from '../support/build.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
const ENVIRONMENT = { PATH: NPM_ENVIRONMENT.PATH, HOME: process.env['HOME'] };
const TOKEN = 'package-admin';

describe('the package', () => {
  let directory: TemporaryDirectory;
  let child: ChildProcess;
  let url: string;
  const path = (...parts: string[]): string => join(directory.path, ...parts);

  before(async () => {
    directory = temporaryDirectory();
    await installPackage(directory.path);

    // As a user runs it: the same commands, the same working directory.
    child = spawn('npx', ['lastseen', 'serve'], {
      cwd: directory.path,
      env: { ...ENVIRONMENT, PORT: '0', LASTSEEN_ADMIN_TOKEN: TOKEN },
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
    });
    assert.ok(child.stdout !== null);
    for await (const line of createInterface({ input: child.stdout })) {
      const found = /^lastseen listening on (http:\S+)$/.exec(line)?.[1];
      if (found === undefined) {
        continue;
      }
      url = found;
      break;
    }
    child.stdout.resume();
  });
  after(async () => {
    process.kill(-(child.pid ?? 0), 'SIGTERM');
    if (child.exitCode === null) {
      await once(child, 'exit');
    }
    directory.remove();
  });

  const node = (script: string, args: string[], more: Record<string, string> = {}): ReturnType<typeof run> =>
    run(process.execPath, [script, ...args], {
      cwd: directory.path,
      env: { ...ENVIRONMENT, LASTSEEN_URL: url, LASTSEEN_TOKEN: TOKEN, ...more },
    });

  it('serves, keeps its file where it was started, and its SDK pushes and subscribes', async () => {
    writeFileSync(
      path('first.mjs'),
      `import { createPublisher, subscribe } from 'lastseen/client';
       import { fileStore } from 'lastseen/client/node';
       const [url, token] = [process.env.LASTSEEN_URL, process.env.LASTSEEN_TOKEN];
       const publisher = createPublisher({ url, token });
       await publisher.push({ accessId: 'packed', createdAt: 1, payload: 'hello' });
       await publisher.close();
       for await (const { payload } of subscribe({ url, token, accessId: 'packed', after: 'start', store: fileStore('c.json') })) {
         console.log(payload);
         break;
       }`,
    );
    assert.equal((await node('first.mjs', [])).stdout, 'hello\n');
    const db = new Database(path('data/lastseen.db'), { readonly: true });
    assert.equal(
      db.prepare("select payload from events where access_id = 'packed'").pluck().get(),
      '"hello"',
    );
    db.close();
  });

  it('has types, for Node and for pages', async () => {
    writeFileSync(
      path('typed.ts'),
      `import { ClientError, createPublisher, createTokenCache, lastseenIssuer, localStorageStore, subscribe } from 'lastseen/client';
       import type { ClientEvent, PushResult } from 'lastseen/client';
       const token = createTokenCache({ issue: lastseenIssuer({ url: '', clientId: '', clientSecret: '' }) });
       export async function main(): Promise<string> {
         const results: PushResult[] = await createPublisher({ url: '', token }).push({ accessId: 'a', createdAt: 1, payload: 1 });
         try {
           for await (const event of subscribe({ url: '', accessId: ['a'], token, store: localStorageStore() })) {
             const one: ClientEvent = event;
             return one.rawPayload + String(results.length);
           }
         } catch (error) {
           if (error instanceof ClientError && error.code === 'ERR_CURSOR_TOO_OLD') return error.floor ?? '';
         }
         // @ts-expect-error there is no such option
         subscribe({ url: '', accessId: 'a', from: 1 });
         return '';
       }`,
    );
    writeFileSync(
      path('typed-node.ts'),
      `import { fileStore } from 'lastseen/client/node';\nfileStore('a').flush();\n`,
    );
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    const check = async (compilerOptions: object, ...files: string[]): Promise<void> => {
      const strict = { noEmit: true, strict: true, module: 'nodenext', target: 'es2023', ...compilerOptions };
      writeFileSync(path('tsconfig.json'), JSON.stringify({ compilerOptions: strict, files }));
      await node(tsc, ['-p', 'tsconfig.json']);
    };
    await check({ lib: ['es2023', 'dom'], types: [] }, 'typed.ts');
    const typeRoots = [join(ROOT, 'node_modules/@types')];
    await check(
      { lib: ['es2023'], types: ['node'], typeRoots, skipLibCheck: true },
      'typed.ts',
      'typed-node.ts',
    );
  });

  it('bundled for browsers it is small', async (context) => {
    const bundle = await build({
      entryPoints: [path('node_modules/lastseen/dist/src/client/index.js')],
      bundle: true,
      minify: true,
      format: 'esm',
      write: false,
      logLevel: 'silent',
    });
    const bytes = gzipSync(bundle.outputFiles[0]?.contents ?? '').length;
    context.diagnostic(`${bytes} bytes, gzipped`);
    assert.ok(bytes > 1_000 && bytes < 10_000);
  });

  it('G5: the connector of the examples can be run again on a file that has grown', async () => {
    const made = (await (
      await fetch(`${url}/oauth/clients`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ name: 'connector', scope: 'push', access_ids: ['lines'] }),
      })
    ).json()) as { client_id: string; client_secret: string };
    copyFileSync(join(ROOT, 'docs/examples/connector.mjs'), path('connector.mjs'));
    const credentials = { LASTSEEN_CLIENT_ID: made.client_id, LASTSEEN_CLIENT_SECRET: made.client_secret };
    const lines = Array.from({ length: 6_000 }, (_, at) => `line ${at}\n`);
    writeFileSync(path('file.log'), lines.slice(0, 5_500).join(''));
    const first = await node('connector.mjs', ['lines', 'file.log'], credentials);
    assert.equal(first.stdout, '5500 lines pushed, 0 of them were there already\n');
    appendFileSync(path('file.log'), lines.slice(5_500).join(''));
    const second = await node('connector.mjs', ['lines', 'file.log'], credentials);
    assert.equal(second.stdout, '6000 lines pushed, 5500 of them were there already\n');
  });

  it('G3: the projector of the examples counts each event once, however often it is killed', async () => {
    mkdirSync(path('projector'));
    copyFileSync(join(ROOT, 'docs/examples/projector.mjs'), path('projector.mjs'));
    const total = 3_000;
    const publisher = createPublisher({ url, token: TOKEN });
    await publisher.push(
      Array.from({ length: total }, (_, at) => ({
        accessId: 'projected',
        createdAt: at,
        payload: { kind: at % 2 === 0 ? 'even' : 'odd' },
      })),
    );
    await publisher.close();
    const file = path('projector/totals.db');
    const totals = (): { kind: string; events: number }[] => {
      try {
        const db = new Database(file, { readonly: true });
        try {
          return db.prepare('select kind, events from totals order by kind').all() as never;
        } finally {
          db.close();
        }
      } catch {
        return [];
      }
    };
    const counted = (): number => totals().reduce((sum, { events }) => sum + events, 0);
    let kills = 0;
    for (let before = 0; counted() < total; before = counted()) {
      const worker = spawn(process.execPath, ['projector.mjs', 'projected', file], {
        cwd: directory.path,
        env: { ...ENVIRONMENT, LASTSEEN_URL: url, LASTSEEN_TOKEN: TOKEN },
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      await until(() => counted() > before || worker.exitCode !== null, 'the projector to count an event');
      worker.kill('SIGKILL');
      await once(worker, 'exit');
      kills += 1;
    }
    assert.ok(kills > 0);
    assert.deepEqual(totals(), [
      { kind: 'even', events: total / 2 },
      { kind: 'odd', events: total / 2 },
    ]);
  });
});
