/** Requests of one connection that does not wait for answers: what they cost, and when the server ends it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect as connectSocket, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { type ServerProcess, startProcess } from '../support/process.ts';
import { type Service, startService, TOKEN } from '../support/service.ts';
import { type TemporaryDirectory, temporaryDirectory } from '../support/temporary.ts';
import { until } from '../support/until.ts';

const MIB = 1024 * 1024;

const TINY = 'GET / HTTP/1.1\r\nHost:\r\n\r\n';
const POLL = `GET /events?access_id=held&after=now&wait=60 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`;

async function metric(service: Service, name: string): Promise<number> {
  const text = await (await service.fetch('/metrics')).text();
  const line = text.split('\n').find((sample) => sample.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1));
}

const reservedBytes = (service: Service): Promise<number> =>
  metric(service, 'lastseen_budget_reserved_bytes{budget="requests"}');

interface Sender {
  readonly socket: Socket;
  isClosed(): boolean;
}

/** A connection that has sent `text` and reads nothing. */
async function send(context: TestContext, port: number, text: string): Promise<Sender> {
  const socket = connectSocket(port, '127.0.0.1');
  let isClosed = false;
  socket.on('error', () => undefined);
  socket.on('close', () => (isClosed = true));
  context.after(() => {
    socket.destroy();
  });
  await once(socket, 'connect');
  socket.pause();
  socket.write(text);
  return { socket, isClosed: () => isClosed };
}

describe('G7: requests behind one that takes long', () => {
  const COUNT = 4_000;
  const REQUEST = `GET / HTTP/1.1\r\nHost: localhost\r\nX-Padding: ${'x'.repeat(4_000)}\r\n\r\n`;
  let service: Service;
  before(async () => {
    service = await startService();
  });
  after(() => service.stop());

  it('the server reads no further requests while one is under way, and answers all of them afterwards', async (context) => {
    const { socket, isClosed } = await send(context, service.port, POLL + REQUEST.repeat(COUNT));
    let largest = 0;
    let rounds = 0;
    let unsent = -1;
    await until(
      async () => {
        largest = Math.max(largest, await reservedBytes(service));
        rounds = socket.writableLength === unsent && largest > 0 ? rounds + 1 : 0;
        unsent = socket.writableLength;
        return rounds >= 20;
      },
      () => `the server to stop reading: ${unsent} bytes are unsent, ${largest} bytes are reserved`,
    );
    // One read of the network has 64 KiB, and a request is counted with 6 KiB and its head.
    assert.ok(largest <= 16 * 11 * 1024, `${largest} bytes wait`);
    assert.ok(!isClosed());

    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    socket.resume();
    await service.push({ accessid: 'held', created_at: 1, payload: 1 });
    await until(
      () => text.split('HTTP/1.1 404').length === COUNT + 1,
      () => `${COUNT} answers, got ${text.split('HTTP/1.1 404').length - 1}`,
    );
    assert.match(text, /^HTTP\/1\.1 200 OK/);
    await until(async () => (await reservedBytes(service)) === 0, 'the waiting requests to be released');
  });
});

describe('G7: the budget of waiting requests', () => {
  let service: Service;
  before(async () => {
    service = await startService({ LASTSEEN_REQUEST_BUDGET_BYTES: String(MIB) });
  });
  after(() => service.stop());

  it('the server closes a connection whose waiting requests do not fit, and serves others', async (context) => {
    const senders: Sender[] = [];
    for (let connection = 0; connection < 10; connection += 1) {
      senders.push(await send(context, service.port, POLL + TINY.repeat(200)));
    }
    await until(
      () => senders.filter(({ isClosed }) => isClosed()).length >= 8,
      () => `8 connections to close, got ${senders.filter(({ isClosed }) => isClosed()).length}`,
    );
    assert.ok((await reservedBytes(service)) <= MIB / 2);
    assert.ok((await metric(service, 'lastseen_budget_refusals_total{budget="requests"}')) >= 8);
    await service.push({ accessid: 'others', created_at: 1, payload: 1 });
    assert.equal((await service.page('others')).events.length, 1);
  });
});

describe('G7: an answer that nobody reads', () => {
  let service: Service;
  before(async () => {
    service = await startService({ LASTSEEN_STALL_SECONDS: '1' });
  });
  after(() => service.stop());

  it('ends with its connection after LASTSEEN_STALL_SECONDS, whatever the route and without a token', async (context) => {
    const text = 'GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(1_000);
    await send(context, service.port, text);
    await until(async () => (await reservedBytes(service)) > 0, 'requests to wait');
    await until(async () => (await reservedBytes(service)) === 0, 'the server to close the connection');
  });
});

describe('G7: many connections with many requests', () => {
  let directory: TemporaryDirectory;
  let server: ServerProcess;
  before(async () => {
    directory = temporaryDirectory();
    // With a small heap the process would end if it held more, whenever its garbage is collected.
    server = await startProcess(join(directory.path, 'log.db'), {
      NODE_OPTIONS: '--max-old-space-size=256',
    });
  });
  after(async () => {
    await server.end('SIGKILL');
    directory.remove();
  });

  it('60 connections that pipeline without reading leave the memory of the process bounded', async (context) => {
    const residentMib = (): number => {
      const status = readFileSync(`/proc/${String(server.child.pid)}/status`, 'utf8');
      return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024;
    };
    const before = residentMib();
    const text = POLL + TINY.repeat(5_000);
    for (let connection = 0; connection < 60; connection += 1) {
      await send(context, server.port, text);
    }
    let largest = 0;
    let answered = 0;
    await until(async () => {
      largest = Math.max(largest, residentMib());
      const response = await fetch(`${server.url}/health`);
      answered += response.ok ? 1 : 0;
      return answered >= 10;
    }, '10 answers to another client');
    assert.equal(server.child.exitCode, null, server.output());
    assert.ok(largest - before < 500, `${Math.round(before)} MiB grew to ${Math.round(largest)} MiB`);
  });
});
