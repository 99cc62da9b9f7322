/** The wire of Fedecks devices, with an application's own handlers behind it, on both engines. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { deflateSync } from 'node:zlib';
import { pino } from 'pino';
import { encode } from '../../../src/gateways/fedecks/etf/encode.ts';
import { charlist, float, type Term, tuple } from '../../../src/gateways/fedecks/etf/term.ts';
import { createHandlerService } from '../../../src/gateways/fedecks/handler-service.ts';
import { createDeviceTokens } from '../../../src/gateways/fedecks/tokens.ts';
import type { Device as ServedDevice, DeviceHandler, DeviceMount } from '../../../src/index.ts';
import { systemRuntime } from '../../../src/system-runtime.ts';
import { eachEngine } from '../../engines/each-engine.ts';
import { authOf, openDevice, refusedDevice, TOKEN_PLEASE } from '../../support/devices.ts';
import { type Service, startService, type WireEvent } from '../../support/service.ts';
import { until } from '../../support/until.ts';
import { clientFrame, openWire, UPGRADE } from '../../support/wire.ts';

/** Exact bytes that a device of the original sends. */
const LOGIN =
  'g3QAAAADbQAAABFmZWRlY2tzLWRldmljZS1pZG0AAAALbmVydmVzLTU0M3htAAAACHBhc3N3b3JkbQAAABBwYXJhbm9pZC1hbmRyb2lkbQAAAAh1c2VybmFtZW0AAAAGbWFydmlu';
const RECONNECT =
  'g3QAAAACbQAAABFmZWRlY2tzLWRldmljZS1pZG0AAAALbmVydmVzLTk4N3htAAAADWZlZGVja3MtdG9rZW5tAAAAAmhp';
const UNSAFE =
  'g3QAAAAEbQAAABFmZWRlY2tzLWRldmljZS1pZG0AAAALbmVydmVzLTU0M3htAAAABW90aGVyZAARbm90X2V4aXN0aW5nX2F0b21tAAAACHBhc3N3b3JkbQAAABBwYXJhbm9pZC1hbmRyb2lkbQAAAAh1c2VybmFtZW0AAAAGbWFydmlu';

const MARVIN = { username: 'marvin', password: 'paranoid-android' };
const SECRET = 'a secret of the boxes, long enough';
const SALT = 'boxes';
const IDLE_MS = 2_000;
const ID = 'fedecks-device-id';
const TOKEN = 'fedecks-token';

const login = (id: Term): Record<string, Term> => ({ [ID]: id, ...MARVIN });
const isMarvin: DeviceHandler['authenticate'] = (credentials) =>
  credentials.get('username') === 'marvin' && credentials.get('password') === 'paranoid-android';
const hex = (text: string): Buffer => Buffer.from(text, 'hex');

describe('handlers of devices', () => {
  eachEngine((engine) => {
    let service: Service;
    const lines: string[] = [];
    const errors: unknown[][] = [];
    const connected: ServedDevice[] = [];
    /** What the handler was given, in order. */
    const seen: unknown[] = [];
    let gate: Promise<void> = Promise.resolve();
    let calls = 0;

    const boxes: DeviceHandler = {
      authenticate: isMarvin,
      onConnected: (device) => void connected.push(device),
      onMessage(_device, message) {
        if (message instanceof Map && message.get('talk to') === 'me') {
          return { reply: 'xyz term wat?' };
        }
        if (message === 'Please stop.') {
          return { stop: 'asked to' };
        }
        if (message === 'throw') {
          throw new Error('thrown on purpose');
        }
        return { reply: tuple('term', message) };
      },
      onRawMessage(_device, bytes) {
        const text = Buffer.from(bytes).toString('latin1');
        if (text === 'talk to me') {
          return { reply: 'xyz raw wat?' };
        }
        if (text === 'Please stop.') {
          return Promise.resolve({ stop: 'asked to' });
        }
        return { reply: tuple('raw', Buffer.from(bytes).toString('hex')) };
      },
      onInfo(_device, info) {
        return info === 'throw' ? Promise.reject(new Error('rejected on purpose')) : { push: info as Term };
      },
      onError: (...error) => void errors.push(error),
    };
    const mount = (path: string, handler: DeviceHandler, more: Partial<DeviceMount> = {}): DeviceMount => ({
      path: `/${path}/websocket`,
      handler,
      secret: SECRET,
      salt: path,
      ...more,
    });

    before(async () => {
      const { settings } = await engine.createDatabase();
      const devices = [
        mount('boxes', boxes),
        mount('bare', { authenticate: isMarvin }),
        mount(
          'fast',
          { authenticate: isMarvin, onMessage: (_device, message) => ({ reply: message }) },
          { tokenRefreshMillis: 40 },
        ),
        mount(
          'quiet',
          {
            authenticate: isMarvin,
            onMessage: () => new Promise<'ok'>(() => undefined),
          },
          { idleTimeoutMillis: IDLE_MS },
        ),
        mount('slow', {
          authenticate: isMarvin,
          async onMessage(_device, message) {
            seen.push(
              message instanceof Uint8Array || typeof message === 'string' ? message.length : message,
            );
            await gate;
            return 'ok' as const;
          },
        }),
        mount('broken', {
          authenticate(credentials) {
            if (credentials.get(ID) === 'login') {
              throw new Error('no directory today');
            }
            return Promise.resolve(true);
          },
          onConnected: () => Promise.reject(new Error('rejected on purpose')),
          onError: () => Promise.reject(new Error('rejected on purpose')),
        }),
        mount('count', {
          authenticate: isMarvin,
          onMessage(_device, message) {
            calls += 1;
            return { reply: message };
          },
        }),
        mount('limited', { authenticate: isMarvin }),
      ];
      service = await startService(settings, undefined, {
        devices,
        logger: pino({ level: 'debug' }, { write: (line: string) => void lines.push(line) }),
      });
    });
    after(() => service.stop());

    const open = (id: string, path = 'boxes'): ReturnType<typeof openDevice> =>
      openDevice(service.port, login(id), `/${path}/websocket`);
    const tokensOf = (
      more: { secret?: string; salt?: string; now?: () => number } = {},
    ): ReturnType<typeof createDeviceTokens> =>
      createDeviceTokens({
        secret: () => Promise.resolve(more.secret ?? SECRET),
        salt: more.salt ?? SALT,
        expirySeconds: 2_419_200,
        clock: { ...systemRuntime.clock, ...(more.now === undefined ? {} : { now: more.now }) },
      });

    it('the header of an original device logs in, byte for byte, and of two headers the first counts', async () => {
      assert.equal(authOf({ [ID]: 'nerves-543x', password: MARVIN.password, username: 'marvin' }), LOGIN);
      for (const header of [LOGIN, [LOGIN, 'nope']]) {
        const before = connected.length;
        const device = await openDevice(service.port, header, '/boxes/websocket');
        device.send('hello');
        assert.deepEqual(await device.some(1), [tuple('term', 'hello')]);
        assert.deepEqual(
          connected.slice(before).map((one) => one.deviceId),
          ['nerves-543x'],
        );
        await device.close();
      }
      const second = await refusedDevice(service.port, ['nope', LOGIN], '/boxes/websocket');
      assert.equal(second.headers['x-fedecks-error'], 'invalid_auth_header');
    });

    it('each refusal is an empty 403, is told to the handler, and stands in the log without a secret', async () => {
      const ours = await tokensOf().issue('nerves-1', randomUUID());
      const tampered = `${ours.slice(0, -4)}${ours.endsWith('AAAA') ? 'BBBB' : 'AAAA'}`;
      const fiveWeeks = 5 * 7 * 86_400_000;
      const old = await tokensOf({ now: () => Date.now() - fiveWeeks }).issue('nerves-1', randomUUID());
      const invalid = 'invalid_auth_header';
      const unsafe = 'encoded binary auth was invalid or unsafe';
      const withToken = (token: Term): Record<string, Term> => ({ ...login('nerves-1'), [TOKEN]: token });
      const of = (term: Term): string => encode(term).toString('base64');
      const table: [Parameters<typeof refusedDevice>[1], string | null, string, string, string?][] = [
        [undefined, null, invalid, 'missing'],
        [login('x'.repeat(1_000)), null, invalid, 'too long'],
        ['A'.repeat(1_024), null, invalid, 'too long'],
        [login('x'.repeat(254)), null, invalid, 'too long'],
        ['1', null, invalid, 'not base64'],
        [LOGIN.slice(0, -2), null, invalid, 'not base64'],
        ['_-_-', null, invalid, 'not base64'],
        ['', null, invalid, unsafe],
        [Buffer.from('nope').toString('base64'), null, invalid, unsafe],
        [UNSAFE, null, invalid, unsafe],
        [of('hello'), null, invalid, 'not a map'],
        [of(TOKEN_PLEASE), null, invalid, 'not a map'],
        [MARVIN, null, invalid, 'no device id'],
        [login(7), null, invalid, 'no device id'],
        [login(charlist('nerves')), null, invalid, 'no device id'],
        [login(''), null, invalid, 'no device id'],
        [login(Uint8Array.of(255)), null, invalid, 'no device id'],
        [
          { ...login('nerves-2'), [TOKEN]: ours },
          'nerves-2',
          'invalid_token',
          "wrong device id in token, 'nerves-1'",
        ],
        [RECONNECT, 'nerves-987x', 'invalid_token', ''],
        [withToken(tampered), 'nerves-1', 'invalid_token', ''],
        [withToken(null), 'nerves-1', 'invalid_token', ''],
        [withToken(7), 'nerves-1', 'invalid_token', ''],
        [withToken(old), 'nerves-1', 'invalid_token', '', 'token_expired'],
        [
          withToken(await tokensOf({ secret: 'another secret, as long' }).issue('nerves-1', randomUUID())),
          'nerves-1',
          'invalid_token',
          '',
        ],
        [
          withToken(await tokensOf({ salt: 'bare' }).issue('nerves-1', randomUUID())),
          'nerves-1',
          'invalid_token',
          '',
        ],
        [
          { [ID]: 'nerves-1', username: 'marvin', password: 'wrong-password' },
          'nerves-1',
          'authentication_failed',
          '',
        ],
      ];
      errors.length = 0;
      lines.length = 0;
      for (const [auth, deviceId, type, info, hint = type] of table) {
        const what = `${type} ${info} ${deviceId}`;
        const refusal = await refusedDevice(service.port, auth, '/boxes/websocket');
        assert.deepEqual(
          [refusal.status, refusal.body, refusal.headers['content-length']],
          [403, '', '0'],
          what,
        );
        assert.equal(refusal.headers['x-fedecks-error'], hint, what);
        assert.deepEqual(errors.splice(0), [[deviceId, type, info]]);
        const line = JSON.parse(lines.splice(0).at(-1) ?? '{}') as Record<string, unknown>;
        assert.deepEqual(
          [line['msg'], line['device_id'], line['type'], line['info']],
          ['device refused', deviceId, type, info],
        );
        assert.equal(typeof line['count'], 'number');
        for (const secret of [ours, old, tampered, 'wrong-password', MARVIN.password, SECRET]) {
          assert.ok(!JSON.stringify(line).includes(secret), what);
        }
      }
    });

    it('refusals by the log are events of $devices, sixty a minute at most', async () => {
      const before = (await service.page('$devices')).events.length;
      for (let n = 0; n < 70; n += 1) {
        await refusedDevice(service.port, undefined, '/fedecks/websocket');
      }
      // The refusal is answered before its event is on disk.
      let events: WireEvent[] = [];
      await until(async () => {
        ({ events } = await service.page('$devices'));
        return events.length > before;
      }, 'an event of a refusal');
      assert.ok(events.length <= before + 120, String(events.length));
      assert.deepEqual(events.at(-1)?.payload, {
        type: 'device_refused',
        device_id: null,
        error: 'invalid_auth_header',
        info: 'missing',
      });
    });

    it('token_please is answered by one binary frame, and the token lets in again, at its handler only', async () => {
      const device = await open('nerves-543x');
      device.raw(hex('836b000c746f6b656e5f706c65617365'));
      const token = await device.token();
      assert.deepEqual(device.isBinary, [true]);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(token.length);
      const expected = Buffer.concat([hex('8368026b0005746f6b656e6d'), length, Buffer.from(token)]);
      assert.deepEqual(device.frames, [expected]);
      const opened = await tokensOf().open(token);
      assert.ok(opened.isOwn && !opened.isExpired);
      assert.equal(opened.deviceId, 'nerves-543x');
      // As a binary the same text is a message like any other.
      device.send('token_please');
      assert.deepEqual(await device.some(1), [tuple('term', 'token_please')]);
      await device.close();
      const back = await openDevice(
        service.port,
        { [ID]: 'nerves-543x', [TOKEN]: token },
        '/boxes/websocket',
      );
      back.send(TOKEN_PLEASE);
      const next = await back.token();
      assert.notEqual(next, token);
      await back.close();
      const elsewhere = await refusedDevice(
        service.port,
        { [ID]: 'nerves-543x', [TOKEN]: next },
        '/bare/websocket',
      );
      assert.equal(elsewhere.headers['x-fedecks-error'], 'invalid_token');
    });

    it('the longest device id that may log in can come back with its token', async () => {
      for (const id of ['x'.repeat(253), `${'ü'.repeat(126)}x`, '\u0001'.repeat(253)]) {
        const device = await open(id, 'bare');
        device.send(TOKEN_PLEASE);
        const again = authOf({ [ID]: id, [TOKEN]: await device.token() });
        await device.close();
        assert.ok(again.length < 1_024, String(again.length));
        await (await openDevice(service.port, again, '/bare/websocket')).close();
      }
    });

    it('a new token comes by the clock, and asking for one does not put that off', async () => {
      const device = await open('nerves-1', 'fast');
      await device.token(2);
      const before = device.tokens.length;
      // The echo comes behind the answer: what came beside so many answers came by the clock.
      for (let asked = 1; device.tokens.length - before < asked - 1 + 3; asked += 1) {
        device.send(TOKEN_PLEASE);
        device.send(asked);
        await device.some(asked);
      }
      await device.close();
      assert.equal(new Set(device.tokens).size, device.tokens.length);
    });

    it('a term goes to onMessage, everything else that is binary to onRawMessage as it came, text nowhere', async () => {
      const device = await open('nerves-1');
      const compressed = Buffer.concat([hex('835000000010'), deflateSync(encode('hello matey').subarray(1))]);
      for (const [bytes, term] of [
        [hex('836d0000000b68656c6c6f206d61746579'), 'hello matey'],
        [hex('8361ff'), 255],
        [hex('8362ffffffff'), -1],
        [hex('83463ff8000000000000'), 1.5],
        [hex('8364000474727565'), true],
        [hex('83770474727565'), true],
        [hex('836b0003010203'), [1, 2, 3]],
        [hex('836c000000026101620000012c6a'), [1, 300]],
        [hex('836a'), []],
        [hex('8374000000016d00000001616101'), new Map([['a', 1]])],
        [hex('8368026d0000000568656c6c6f6d000000056d61746579'), tuple('hello', 'matey')],
        [hex('83463ff0000000000000'), float(1)],
        [hex('8361ff00ff'), 255],
        [compressed, 'hello matey'],
        [hex('83'), undefined],
        [hex('83ff'), undefined],
        [hex('836400116e6f745f6578697374696e675f61746f6d'), undefined],
        [Buffer.from('not a term'), undefined],
        [Buffer.alloc(0), undefined],
        [hex('00ff80'), undefined],
      ] as [Buffer, Term | undefined][]) {
        const count = device.terms.length;
        device.raw('text is ignored');
        device.raw(bytes);
        const answer = (await device.some(count + 1))[count];
        const wanted = term === undefined ? tuple('raw', bytes.toString('hex')) : tuple('term', term);
        // Encoded: a float and a number are told apart.
        assert.deepEqual(encode(answer ?? null), encode(wanted), bytes.toString('hex'));
      }
      assert.ok(device.isBinary.every(Boolean));
      await device.close();
    });

    it('replies and pushes are terms in binary frames, and infos keep their order', async () => {
      const device = await open('nerves-push');
      device.send(new Map([['talk to', 'me']]));
      device.raw(Buffer.from('talk to me'));
      assert.deepEqual(await device.some(2), ['xyz term wat?', 'xyz raw wat?']);
      const served = connected.find((one) => one.deviceId === 'nerves-push');
      for (let at = 0; at < 100; at += 1) {
        assert.equal(served?.inform(at), true);
      }
      assert.deepEqual(
        (await device.some(102)).slice(2),
        Array.from({ length: 100 }, (_, at) => at),
      );
      await device.close();
      await new Promise<void>((resolve) => {
        if (served?.signal.aborted === true) {
          resolve();
        } else {
          served?.signal.addEventListener('abort', () => resolve());
        }
      });
      assert.equal(served?.inform('gone'), false);
    });

    it('nothing stands behind the handshake: infos wait for the first frame, and no more than 1,000 of them', async () => {
      const wire = await openWire(service.port);
      const head = [
        'GET /boxes/websocket HTTP/1.1',
        'Host: 127.0.0.1',
        `x-fedecks-auth: ${authOf(login('nerves-first'))}`,
        ...UPGRADE,
      ];
      wire.write(`${head.join('\r\n')}\r\n\r\n`);
      await wire.until((received) => received.includes('\r\n\r\n'));
      const served = connected.find((one) => one.deviceId === 'nerves-first');
      const taken = Array.from({ length: 1_001 }, (_, at) => served?.inform(at));
      assert.deepEqual([taken.filter(Boolean).length, taken.at(-1)], [1_000, false]);
      // What another device is told meanwhile has come: this one was told nothing.
      const other = await open('nerves-other');
      connected.find((one) => one.deviceId === 'nerves-other')?.inform('now');
      other.send('hello');
      await other.some(2);
      await other.close();
      const before = await wire.until(() => true);
      assert.ok(before.endsWith('\r\n\r\n'), before);
      wire.write(clientFrame(encode('hello'), { opcode: 2 }));
      await wire.until((received) => received.includes(encode(999).toString('latin1')));
      wire.cut();
    });

    it('a stop closes with 1000, from a term and from a raw frame', async () => {
      for (const frame of [encode('Please stop.'), Buffer.from('Please stop.')]) {
        const device = await open('nerves-1');
        device.raw(frame);
        assert.equal((await device.closed())[0], 1000);
      }
    });

    it('a ping is echoed with its payload', async () => {
      const device = await open('id345');
      const pong = new Promise<Buffer>((resolve) => device.socket.once('pong', resolve));
      device.socket.ping('id345');
      assert.equal((await pong).toString(), 'id345');
      await device.close();
    });

    it('a device from which nothing comes is closed, one that pings is not', async () => {
      const alive = await open('alive', 'quiet');
      let pongs = 0;
      alive.socket.on('pong', () => (pongs += 1));
      const pinging = setInterval(() => {
        alive.socket.ping('alive');
      }, 20);
      try {
        const quiet = await open('quiet', 'quiet');
        const openedMs = performance.now();
        assert.deepEqual(await quiet.closed(), [1000, 'idle']);
        // A timer is late on a busy machine, never early.
        assert.ok(performance.now() - openedMs > IDLE_MS / 2);
      } finally {
        clearInterval(pinging);
      }
      assert.equal(alive.socket.readyState, alive.socket.OPEN);
      assert.ok(pongs > 3);
      await alive.close();
    });

    it('callbacks that are not there are ignored', async () => {
      const device = await open('nerves-1', 'bare');
      device.send('hello');
      device.raw(Buffer.from('raw'));
      device.raw('text');
      device.send(TOKEN_PLEASE);
      await device.token();
      assert.deepEqual(device.terms, []);
      await device.close();
      assert.equal((await refusedDevice(service.port, undefined, '/bare/websocket')).status, 403);
    });

    it('a callback that throws, rejects or never answers ends its own socket with 1011, and is logged', async () => {
      const bystander = await open('bystander');
      lines.length = 0;
      const thrown = await open('nerves-throw');
      thrown.send('throw');
      assert.equal((await thrown.closed())[0], 1011);
      const informed = await open('nerves-inform');
      informed.send('hello');
      await informed.some(1);
      connected.find((one) => one.deviceId === 'nerves-inform')?.inform('throw');
      assert.equal((await informed.closed())[0], 1011);
      const rejected = await open('any', 'broken');
      assert.equal((await rejected.closed())[0], 1011);
      const hung = await open('hung', 'quiet');
      hung.send('hello');
      assert.equal((await hung.closed())[0], 1011);
      assert.equal(lines.filter((line) => line.includes('a device callback failed')).length, 4);
      assert.match(lines.join(''), /thrown on purpose[\s\S]*took longer than 2000 ms/);
      // Before the upgrade there is no socket to end.
      const fault = await refusedDevice(service.port, login('login'), '/broken/websocket');
      assert.equal(fault.status, 500);
      assert.doesNotMatch(fault.body, /directory/);
      assert.equal((await refusedDevice(service.port, undefined, '/broken/websocket')).status, 403);
      assert.match(lines.join(''), /onError of a device handler failed/);
      bystander.send('still here');
      assert.deepEqual(await bystander.some(1), [tuple('term', 'still here')]);
      await bystander.close();
    });

    it('while a callback is slow its device is not read, and nothing is lost', async () => {
      let release: () => void = () => undefined;
      gate = new Promise((resolve) => (release = resolve));
      seen.length = 0;
      const device = await open('nerves-1', 'slow');
      const message = encode('x'.repeat(100_000));
      for (let at = 0; at < 400; at += 1) {
        device.raw(message);
      }
      device.send('last');
      const other = await open('other', 'boxes');
      for (let at = 0; at < 20; at += 1) {
        other.send(at);
        await other.some(at + 1);
      }
      assert.equal(seen.length, 1);
      assert.ok(device.socket.bufferedAmount > 20_000_000, String(device.socket.bufferedAmount));
      release();
      device.send(TOKEN_PLEASE);
      await device.token();
      assert.equal(seen.length, 401);
      assert.equal(seen.at(-1), 4);
      await Promise.all([device.close(), other.close()]);
    });

    it('G7: a device that sends and never reads is not read any further, and goes on when it reads', async () => {
      const [device, other] = [await open('deaf', 'count'), await open('other', 'boxes')];
      device.socket.pause();
      calls = 0;
      const message = encode('x'.repeat(20_000));
      const total = 3_000;
      for (let at = 0; at < total; at += 1) {
        device.raw(message);
      }
      // Until it has stood still for so many turns of the server.
      let steps = 0;
      for (let still = 0; still < 50;) {
        const last = calls;
        other.send(steps);
        steps += 1;
        await other.some(steps);
        still = calls === last ? still + 1 : 0;
      }
      assert.ok(calls > 0 && calls < total - 500, String(calls));
      device.socket.resume();
      await device.some(total);
      await Promise.all([device.close(), other.close()]);
    });

    it('wrong credentials from one address are slowed: the same empty 403, and who has a token comes in', async () => {
      const device = await open('nerves-1', 'limited');
      device.send(TOKEN_PLEASE);
      const token = await device.token();
      await device.close();
      const hints = [];
      const wrong = { ...login('nerves-1'), password: 'guess' };
      for (let at = 0; at < 12; at += 1) {
        const { status, body, headers } = await refusedDevice(service.port, wrong, '/limited/websocket');
        assert.deepEqual([status, body], [403, '']);
        hints.push(headers['x-fedecks-error']);
      }
      assert.deepEqual(hints.slice(9), ['authentication_failed', 'rate_limited', 'rate_limited']);
      const right = await refusedDevice(service.port, login('nerves-1'), '/limited/websocket');
      assert.ok(Number(right.headers['retry-after']) > 0);
      await (
        await openDevice(service.port, { [ID]: 'nerves-1', [TOKEN]: token }, '/limited/websocket')
      ).close();
    });

    it('a message that is too large closes with 1009, and an ordinary request is told to upgrade', async () => {
      const device = await open('nerves-1');
      device.raw(Buffer.alloc(1_048_577));
      assert.equal((await device.closed())[0], 1009);
      assert.equal((await service.fetch('/boxes/websocket')).status, 426);
    });
  });
});

describe('mounting a handler of devices', () => {
  const handler: DeviceHandler = { authenticate: () => true };
  const good: DeviceMount = { path: '/boxes/websocket', handler, secret: SECRET, salt: SALT };

  it('what cannot be mounted stops the start and names the option, never the secret', async () => {
    for (const [wrong, message] of [
      [{ path: 'boxes' }, /path of a device handler must be a path/],
      [{ secret: 'too short' }, /^secret of a device handler must have at least 16 characters$/],
      [{ salt: '' }, /salt/],
      [{ tokenRefreshMillis: 0 }, /tokenRefreshMillis/],
      [{ tokenExpirySecs: 1.5 }, /tokenExpirySecs.*1.5/],
      [{ idleTimeoutMillis: 2 ** 31 }, /idleTimeoutMillis/],
      [{ maxMessageBytes: 10_000_001 }, /maxMessageBytes/],
    ] as const) {
      assert.throws(() => createHandlerService({ ...good, ...wrong }, systemRuntime), {
        code: 'ERR_REQUEST_INVALID',
        message,
      });
    }
    const twice = { ...good, path: '/fedecks/websocket' };
    await assert.rejects(startService({}, undefined, { devices: [twice] }), {
      message: 'two gateways serve WebSockets at /fedecks/websocket',
    });
  });
});
