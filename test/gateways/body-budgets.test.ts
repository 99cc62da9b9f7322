/** Bodies that never end: bounded in bytes over all connections and for each principal, and ended when nothing arrives. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectSocket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { type ServerProcess, startProcess } from '../support/process.ts';
import { type Service, startService, TOKEN } from '../support/service.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;

async function metric(service: Service, name: string): Promise<number> {
  const text = await (await service.fetch('/metrics')).text();
  const line = text.split('\n').find((sample) => sample.startsWith(`${name}{budget="bodies"} `));
  return Number(line?.split(' ')[1] ?? 0);
}

interface Sender {
  /** What the server has answered. */
  readonly answer: () => string;
  readonly isClosed: () => boolean;
  send(text: string): void;
}

/** A push that has sent its head. */
async function openPush(
  context: TestContext,
  service: Service,
  { token, length }: { readonly token: string; readonly length: number | 'chunked' },
): Promise<Sender> {
  const socket = connectSocket(service.port, '127.0.0.1');
  let answer = '';
  let isClosed = false;
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
  socket.on('close', () => (isClosed = true));
  context.after(() => {
    socket.destroy();
  });
  await once(socket, 'connect');
  const framing = length === 'chunked' ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`;
  socket.write(
    `POST /push_events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\n${framing}\r\n\r\n`,
  );
  return {
    answer: () => answer,
    isClosed: () => isClosed,
    send: (text) => socket.write(length === 'chunked' ? `${text.length.toString(16)}\r\n${text}\r\n` : text),
  };
}

async function tokenOf(service: Service, sub: string): Promise<string> {
  const response = await service.post('/tokens', { sub, scope: 'push', access_ids: ['*'] });
  return ((await response.json()) as { access_token: string }).access_token;
}

describe('G7: bodies that never end', () => {
  let service: Service;
  before(async () => {
    service = await startService({
      LASTSEEN_BODY_BUDGET_BYTES: String(32 * MIB),
      LASTSEEN_BODY_BUDGET_BYTES_PER_PRINCIPAL: String(16 * MIB),
    });
  });
  after(() => service.stop());

  it('one principal fills its own share, and others push', async (context) => {
    const token = await tokenOf(service, 'greedy');
    const senders: Sender[] = [];
    for (let connection = 0; connection < 40; connection += 1) {
      const sender = await openPush(context, service, { token, length: 8 * MIB - 1 });
      sender.send(' '.repeat(64 * 1024));
      senders.push(sender);
    }
    await until(
      () => senders.filter(({ isClosed }) => isClosed()).length === 38,
      () => `38 refusals: ${senders.map(({ answer }) => answer().slice(0, 40)).join('\n')}`,
    );
    for (const sender of senders.filter(({ isClosed }) => isClosed())) {
      assert.match(sender.answer(), /^HTTP\/1\.1 503 /);
      assert.match(sender.answer(), /\r\nRetry-After: \d/);
      assert.match(sender.answer(), /ERR_QUEUE_FULL/);
    }
    assert.equal(await metric(service, 'lastseen_budget_reserved_bytes'), 2 * (8 * MIB - 1));
    assert.equal(await metric(service, 'lastseen_budget_limit_bytes'), 32 * MIB);
    assert.equal(await metric(service, 'lastseen_budget_refusals_total'), 38);
    await service.push({ accessid: 'others', created_at: 1, payload: 1 });
  });

  it('the bytes of a connection that closes are free again', async () => {
    await until(
      async () => (await metric(service, 'lastseen_budget_reserved_bytes')) === 0,
      'the bodies of the closed connections to end',
    );
  });

  it('a body without a length is refused when the budget has no byte left for it', async (context) => {
    const senders = [];
    for (const sub of ['a', 'b']) {
      const token = await tokenOf(service, sub);
      for (let connection = 0; connection < 2; connection += 1) {
        senders.push(await openPush(context, service, { token, length: 8 * MIB - 16 * 1024 }));
      }
    }
    await until(
      async () => (await metric(service, 'lastseen_budget_reserved_bytes')) === 32 * MIB - 64 * 1024,
      'four bodies',
    );
    const chunked = await openPush(context, service, { token: TOKEN, length: 'chunked' });
    chunked.send(' '.repeat(128 * 1024));
    await until(chunked.isClosed, () => `a refusal, got ${chunked.answer()}`);
    assert.match(chunked.answer(), /^HTTP\/1\.1 503 /);
    assert.ok(senders.every(({ isClosed }) => !isClosed()));
  });
});

describe('G7: a body that makes no progress', () => {
  let service: Service;
  before(async () => {
    service = await startService({ LASTSEEN_BODY_STALL_SECONDS: '1' });
  });
  after(() => service.stop());

  it('is ended with 408, the connection is closed, and its bytes are free again', async (context) => {
    const senders: Sender[] = [];
    for (const length of [1_000, 1_000, 'chunked'] as const) {
      const sender = await openPush(context, service, { token: TOKEN, length });
      sender.send('[');
      senders.push(sender);
    }
    await until(
      () => senders.every(({ isClosed }) => isClosed()),
      () => `the connections to close: ${senders.map(({ answer }) => answer()).join('\n')}`,
    );
    for (const { answer } of senders) {
      assert.match(answer(), /^HTTP\/1\.1 408 /);
      assert.match(answer(), /ERR_TIMEOUT/);
      assert.match(answer(), /\r\nConnection: close\r\n/);
    }
    assert.equal(await metric(service, 'lastseen_budget_reserved_bytes'), 0);
  });
});

describe('G7: a body in two million chunks of one byte', () => {
  let directory: TemporaryDirectory;
  let server: ServerProcess;
  before(async () => {
    directory = temporaryDirectory();
    // With a small heap the process would end if it kept an object for each chunk.
    server = await startProcess(join(directory.path, 'log.db'), {
      NODE_OPTIONS: '--max-old-space-size=256',
    });
  });
  after(async () => {
    await server.end('SIGKILL');
    directory.remove();
  });

  it('costs its bytes, and is appended', async (context) => {
    const socket = connectSocket(server.port, '127.0.0.1');
    context.after(() => {
      socket.destroy();
    });
    let answer = '';
    let failure: Error | undefined;
    socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
    socket.on('error', (error) => (failure = error));
    await once(socket, 'connect');
    socket.write(
      `POST /push_events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`,
    );
    const spaces = '1\r\n \r\n'.repeat(20_000);
    for (let part = 0; part < 100 && failure === undefined; part += 1) {
      if (!socket.write(spaces)) {
        await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
      }
    }
    const event = JSON.stringify([{ accessid: 'slow', created_at: 1, payload: 'é' }]);
    for (const byte of Buffer.from(event)) {
      socket.write(Buffer.concat([Buffer.from('1\r\n'), Buffer.from([byte]), Buffer.from('\r\n')]));
    }
    socket.write('0\r\n\r\n');
    await until(
      () => answer.includes('\r\n\r\n') || failure !== undefined,
      () => `an answer, got ${answer}`,
    );
    assert.match(answer, /^HTTP\/1\.1 200 /, failure?.message ?? '');
    const page = await fetch(`${server.url}/events?access_id=slow`, {
      headers: { Authorization: `Bearer ${TOKEN}` },
    });
    const { events } = (await page.json()) as { events: { payload: unknown }[] };
    assert.deepEqual(
      events.map(({ payload }) => payload),
      ['é'],
    );
  });
});
