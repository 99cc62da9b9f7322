/** The official clients of Phoenix channels against the real server, on both engines. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, afterEach, before, describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { presenceKey } from '../../../src/gateways/phoenix/presence.ts';
import { eachEngine, type EngineDatabase } from '../../engines/each-engine.ts';
import { startProcess } from '../../support/process.ts';
import { startProxy } from '../../support/proxy.ts';
import { type Service, startService, TOKEN } from '../../support/service.ts';
import { until } from '../../support/until.ts';
import { answered, PHOENIX_CLIENTS, type PhoenixChannel, type PhoenixSocket, TRANSPORT } from './client.ts';

interface Message {
  readonly user_id: string;
  readonly message: unknown;
  readonly cursor: string;
  readonly version: number;
}

const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at + 1);

describe('Phoenix channels', () => {
  eachEngine((engine) => {
    let service: Service;
    let database: EngineDatabase;
    const sockets = new Set<PhoenixSocket>();
    before(async () => {
      database = await engine.createDatabase();
      service = await startService(database.settings);
    });
    afterEach(() => {
      for (const socket of sockets) {
        socket.disconnect();
      }
      sockets.clear();
    });
    after(() => service.stop());

    async function register(on: Service = service): Promise<string> {
      const type = 'application/vnd.api+json';
      const response = await on.post(
        '/api/json/accounts/users',
        { data: { type: 'user', attributes: {} } },
        { Accept: type, 'Content-Type': type },
      );
      assert.equal(response.status, 201);
      return ((await response.json()) as { data: { id: string } }).data.id;
    }
    const push = (accessId: string, ...payloads: unknown[]): Promise<void> =>
      service.push(...payloads.map((payload) => ({ accessid: accessId, created_at: 7, payload })));

    /** A connected socket of the newest client, unless another is asked for. */
    function open(options: object, port = service.port, client = PHOENIX_CLIENTS.at(-1)): PhoenixSocket {
      assert.ok(client !== undefined);
      const socket = new client.Socket(`ws://127.0.0.1:${port}/socket`, { ...TRANSPORT, ...options });
      sockets.add(socket);
      socket.connect();
      return socket;
    }
    const openAs = (userToken: string, port?: number): PhoenixSocket => open({ params: { userToken } }, port);

    /** Raw frames, for what the clients hide. */
    async function raw(
      path: string,
      options: { headers?: Record<string, string>; protocols?: string[] } = {},
    ): Promise<{
      socket: WebSocket;
      frames: unknown[][];
      send(frame: unknown): void;
      next(count: number): Promise<unknown[][]>;
    }> {
      const socket = new WebSocket(`ws://127.0.0.1:${service.port}${path}`, options.protocols ?? [], {
        headers: options.headers ?? {},
      });
      const frames: unknown[][] = [];
      socket.on('message', (data: Buffer) => frames.push(JSON.parse(data.toString()) as unknown[]));
      await once(socket, 'open');
      return {
        socket,
        frames,
        send: (frame) => {
          socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
        },
        next: async (count) => {
          await until(() => frames.length >= count, `${count} frames, got ${JSON.stringify(frames)}`);
          return frames.splice(0, count);
        },
      };
    }
    const asAdmin = { Authorization: `Bearer ${TOKEN}` };

    for (const client of PHOENIX_CLIENTS) {
      describe(`phoenix ${client.version}`, () => {
        it('G3: notifications: targeted messages, ping, pong, shout, collected, rally-completed, leave', async () => {
          const [me, other] = [await register(), await register()];
          const channels: PhoenixChannel[] = [];
          const got: [who: number, event: string, payload: unknown][] = [];
          for (const [who, userToken] of [me, other].entries()) {
            const channel = open({ params: { userToken } }, service.port, client).channel(
              'notifications',
              {},
            );
            for (const event of ['msg', 'shout', 'collected-broadcast', 'rally-completed']) {
              channel.on(event, (payload) => got.push([who, event, payload]));
            }
            const reply = await answered(channel.join());
            assert.equal(reply['cursor'], reply['head']);
            channels.push(channel);
          }
          const [channel] = channels;
          assert.ok(channel !== undefined);

          await push(me, { big: 'news' });
          await until(() => got.length === 1, 'the message');
          const [who, event, payload] = got[0] ?? [];
          const { cursor, ...rest } = payload as Message & { created_at: number };
          assert.deepEqual(
            [who, event, rest],
            [0, 'msg', { user_id: me, message: { big: 'news' }, version: 1, created_at: 7 }],
          );
          assert.ok(cursor.length > 0);

          assert.deepEqual(await answered(channel.push('ping', { hello: ['there'] })), { hello: ['there'] });
          channel.push('pong', { body: 'pong' });
          got.length = 0;
          channel.push('shout', { some: 'data' });
          channel.push('collected', { nickname: 'ann', more: 1 });
          channel.push('rally-completed', { nickname: 'ann' });
          await until(() => got.length === 6, 'three broadcasts to two');
          for (const name of [0, 1]) {
            assert.deepEqual(
              got.filter(([to]) => to === name).map(([, said, what]) => [said, what]),
              [
                ['shout', { some: 'data' }],
                ['collected-broadcast', { nickname: 'ann' }],
                ['rally-completed', { nickname: 'ann' }],
              ],
            );
          }

          // A bad event or payload is answered, and the channel stays joined.
          const unknown = await answered(channel.push('nonsense', {}), 'error');
          assert.equal(unknown['reason'], 'ERR_REQUEST_INVALID');
          await answered(channel.push('collected', {}), 'error');
          assert.deepEqual(await answered(channel.push('ping', {})), {});

          let closed = false;
          channel.onClose(() => (closed = true));
          await answered(channel.leave());
          await until(() => closed, 'phx_close');
          assert.equal(channel.state, 'closed');
        });

        it('binary: a push of bytes is answered with bytes, and shouted to all', async () => {
          const channel = open({ params: { userToken: await register() } }, service.port, client).channel(
            'notifications',
          );
          const heard: ArrayBuffer[] = [];
          channel.on('shout', (payload) => heard.push(payload));
          await answered(channel.join());
          const reply = (await answered(channel.push('ping', Uint8Array.of(1, 2, 255).buffer))) as unknown;
          assert.deepEqual(new Uint8Array(reply as ArrayBuffer), Uint8Array.of(1, 2, 255));
          channel.push('shout', Uint8Array.of(9, 8).buffer);
          await until(() => heard.length === 1, 'the bytes');
          assert.deepEqual(new Uint8Array(heard[0] ?? new ArrayBuffer()), Uint8Array.of(9, 8));
        });

        it('vsn 1.0.0 with its own encode and decode', async () => {
          const user = await register();
          const socket = open(
            {
              params: { userToken: user },
              vsn: '1.0.0',
              encode: (message: unknown, done: (text: string) => void) => {
                done(JSON.stringify(message));
              },
              decode: (text: string, done: (message: unknown) => void) => {
                done(JSON.parse(text));
              },
            },
            service.port,
            client,
          );
          const channel = socket.channel('notifications', { after: 'start' });
          const got: Message[] = [];
          channel.on('msg', (message) => got.push(message));
          await push(user, 1);
          await answered(channel.join());
          await push(user, 2);
          await until(() => got.length === 2, 'two messages');
          assert.deepEqual(
            got.map((one) => one.message),
            [1, 2],
          );
          assert.deepEqual(await answered(channel.push('ping', { a: 1 })), { a: 1 });
          await answered(channel.leave());
        });

        it('G3: cut at TCP again and again, it gets each event once through `after`, and presence is right', async () => {
          const proxy = await startProxy(service.port);
          const user = await register();
          const total = 300;
          const got: Message[] = [];
          const socket = open(
            { params: { userToken: user }, reconnectAfterMs: () => 10, rejoinAfterMs: () => 20 },
            proxy.port,
            client,
          );
          const channel = socket.channel('notifications', () => ({ after: got.at(-1)?.cursor ?? 'start' }));
          channel.on('msg', (message) => got.push(message));
          const presence = new client.Presence(channel);
          await answered(channel.join());
          for (let n = 1; n <= total; n += 1) {
            await push(user, n);
            if (n % 40 === 0) {
              proxy.cut();
            }
          }
          await until(() => got.length >= total, 'all messages');
          assert.deepEqual(
            got.map((one) => one.version),
            numbers(total),
          );
          assert.deepEqual(
            got.map((one) => one.message),
            numbers(total),
          );
          assert.ok(proxy.accepted > 1);
          const listed = (): [string, number][] =>
            presence.list((key, { metas }): [string, number] => [key, metas.length]);
          const mine = (): number => listed().find(([key]) => key === presenceKey(user))?.[1] ?? 0;
          await until(() => mine() === 1, `one meta, got ${JSON.stringify(listed())}`);
          await proxy.close();
        });

        it('presence: state after each join, joins, leaves, several metas, update', async () => {
          const topic = `events:room-${client.version}`;
          const [tokenA, tokenB] = await Promise.all(
            ['ann', 'bob'].map(async (sub) => {
              const response = await service.post('/tokens', {
                sub,
                scope: 'subscribe',
                access_ids: ['room-*'],
              });
              return ((await response.json()) as { access_token: string }).access_token;
            }),
          );
          // 1.7 cannot send an authToken: the header of Node's WebSocket does.
          const connected = (token: string): PhoenixSocket => {
            class Bearer extends WebSocket {
              constructor(url: string) {
                super(url, { headers: { Authorization: `Bearer ${token}` } });
              }
            }
            return open(
              client.version.startsWith('1.7') ? { transport: Bearer } : { authToken: token },
              service.port,
              client,
            );
          };
          const first = connected(tokenA ?? '').channel(topic, { presence: { from: 'desk' } });
          const presence = new client.Presence(first);
          const seen: string[] = [];
          const names = new Map([
            [presenceKey('ann'), 'ann'],
            [presenceKey('bob'), 'bob'],
          ]);
          presence.onJoin((key, current) => {
            seen.push(`${current === undefined ? 'new' : 'again'} ${names.get(key) ?? key}`);
          });
          presence.onLeave((key, current: { metas: unknown[] }) => {
            seen.push(`${current.metas.length === 0 ? 'gone' : 'less'} ${names.get(key) ?? key}`);
          });
          const metas = (who: string): Record<string, unknown>[] =>
            presence.list((key, { metas: list }) => (names.get(key) === who ? list : [])).flat();
          await answered(first.join());
          await until(() => metas('ann').length === 1, 'ann');
          assert.equal(metas('ann')[0]?.['from'], 'desk');

          const bobs = connected(tokenB ?? '');
          const second = bobs.channel(topic);
          await answered(second.join());
          await until(() => metas('bob').length === 1, 'bob');
          const third = connected(tokenB ?? '').channel(topic);
          await answered(third.join());
          await until(() => metas('bob').length === 2, 'bob twice');
          const before = metas('bob').map((meta) => meta['phx_ref']);
          await answered(second.push('presence_update', { state: 'away' }));
          await until(() => metas('bob').some((meta) => meta['state'] === 'away'), 'the update');
          const away = metas('bob').find((meta) => meta['state'] === 'away');
          assert.equal(metas('bob').length, 2);
          assert.ok(before.includes(away?.['phx_ref_prev']));
          await answered(third.leave());
          await until(() => metas('bob').length === 1, 'bob once');
          bobs.disconnect();
          await until(() => metas('bob').length === 0, 'bob gone');
          assert.deepEqual(
            seen.filter((line) => line.endsWith('bob')),
            ['new bob', 'again bob', 'again bob', 'less bob', 'less bob', 'gone bob'],
          );
        });
      });
    }

    it('events:ACCESS_ID: what the token may read, live once, and pushes that are appended', async () => {
      const response = await service.post('/tokens', {
        sub: 'app',
        scope: 'push subscribe',
        access_ids: ['box-*'],
      });
      const token = ((await response.json()) as { access_token: string }).access_token;
      await push('box-1', 'old');
      const socket = open({ authToken: token });
      const channel = socket.channel('events:box-1', { after: 'start' });
      const got: { version: number; payload: unknown; id?: string }[] = [];
      let lives = 0;
      channel.on('event', (event) => got.push(event));
      channel.on('live', () => (lives += 1));
      await answered(channel.join());
      const receipt = await answered(channel.push('push', { created_at: 1, payload: { a: 1 }, id: 'x' }));
      assert.deepEqual([receipt['version'], receipt['duplicate']], [2, false]);
      const again = await answered(channel.push('push', { created_at: 1, payload: { a: 1 }, id: 'x' }));
      assert.deepEqual([again['cursor'], again['duplicate']], [receipt['cursor'], true]);
      await until(() => got.length === 2, 'both events');
      assert.deepEqual(
        got.map((event) => [event.version, event.payload, event.id]),
        [
          [1, 'old', undefined],
          [2, { a: 1 }, 'x'],
        ],
      );
      assert.equal(lives, 1);
      const conflict = await answered(channel.push('push', { created_at: 1, payload: 2, id: 'x' }), 'error');
      assert.equal(conflict['reason'], 'ERR_ID_CONFLICT');
      const bad = await answered(channel.push('push', { created_at: 'soon' }), 'error');
      assert.deepEqual(
        (bad['errors'] as { pointer: string }[]).map((fault) => fault.pointer),
        ['/created_at', '/payload'],
      );
      const foreign = await answered(socket.channel('events:elsewhere').join(), 'error');
      assert.equal(foreign['reason'], 'ERR_FORBIDDEN');
      assert.equal((await answered(socket.channel('rooms:1').join(), 'error'))['reason'], 'unmatched topic');
      // A registered user reads its own feed, and appends to none.
      const user = await register();
      const own = openAs(user).channel(`events:${user}`);
      await answered(own.join());
      const denied = await answered(own.push('push', { created_at: 1, payload: 1 }), 'error');
      assert.equal(denied['reason'], 'ERR_FORBIDDEN');
      const reserved = await raw('/socket/websocket?vsn=2.0.0', { headers: asAdmin });
      reserved.send(['1', '1', 'events:$users', 'phx_join', { presence: false }]);
      await reserved.next(2);
      reserved.send(['1', '2', 'events:$users', 'push', { created_at: 1, payload: 1 }]);
      const [refused] = await reserved.next(1);
      assert.match(JSON.stringify(refused), /ERR_FORBIDDEN.*reserved/);
      reserved.socket.close();
    });

    it('G9: payloads keep their text both ways', async () => {
      const text = '{"n":9007199254740993,"x":1.0,"a":1,"a":2}';
      const { socket, send } = await raw('/socket/websocket?vsn=2.0.0', { headers: asAdmin });
      const frames: string[] = [];
      socket.removeAllListeners('message');
      socket.on('message', (data: Buffer) => frames.push(data.toString()));
      send(['1', '1', 'events:exact', 'phx_join', {}]);
      send(`["1","2","events:exact","push",{"created_at":1,"payload": ${text} }]`);
      send(`["1","3","phoenix","heartbeat",{}]`);
      await until(() => frames.some((frame) => frame.includes(`"payload":${text}`)), 'the event');
      socket.close();
    });

    it('G6: a cursor that cannot be honoured is refused with its floor, and the channel can be joined after it', async () => {
      const user = await register();
      const channel = openAs(user).channel('notifications', { after: 'aaaaaaaa.1' });
      const refused = await answered(channel.join(), 'error');
      assert.equal(refused['reason'], 'ERR_CURSOR_EPOCH');
      assert.equal(typeof refused['floor'], 'string');
      channel.leave();
      const numeric = await answered(openAs(user).channel('notifications', { after: 5 }).join(), 'error');
      assert.match(String(numeric['detail']), /`after` must be a cursor/);
    });

    it('refused before the upgrade: an empty 403', async () => {
      const ask = (
        path: string,
        headers: Record<string, string> = {},
        protocols: string[] = [],
      ): Promise<[number | undefined, string]> =>
        new Promise((resolve, reject) => {
          const socket = new WebSocket(`ws://127.0.0.1:${service.port}${path}`, protocols, { headers });
          socket.on('open', () => {
            reject(new Error('it was let in'));
          });
          socket.on('error', () => undefined);
          socket.on('unexpected-response', (_request, response) => {
            let body = '';
            response.on('data', (data: Buffer) => (body += data.toString()));
            response.on('end', () => {
              resolve([response.statusCode, body]);
            });
          });
        });
      const user = await register();
      const nobody = '00000000-0000-4000-8000-000000000000';
      for (const [path, headers, protocols] of [
        ['?vsn=2.0.0', {}, []],
        [`?userToken=${nobody}&vsn=2.0.0`, {}, []],
        ['?userToken=undefined&vsn=2.0.0', asAdmin, []],
        [`?userToken=${TOKEN}&vsn=2.0.0`, {}, []],
        [`?userToken=${user}&vsn=123.1.1`, {}, []],
        [`?userToken=${user}&vsn=2.0.0`, { Origin: 'http://evil.example' }, []],
        ['?vsn=2.0.0', { Authorization: 'Bearer wrong' }, []],
        ['?vsn=2.0.0', {}, ['phoenix', `base64url.bearer.phx.${Buffer.from('wrong').toString('base64url')}`]],
      ] as const) {
        assert.deepEqual(await ask(`/socket/websocket${path}`, headers, [...protocols]), [403, ''], path);
      }

      let opened = false;
      const socket = open({ params: { userToken: nobody } });
      socket.onOpen(() => (opened = true));
      await new Promise<void>((resolve) => {
        socket.onError(() => {
          resolve();
        });
      });
      assert.equal(opened, false);
    });

    it('the subprotocol `phoenix` is selected, and the `?&` of a parameter that is null is taken', async () => {
      const token = Buffer.from(TOKEN).toString('base64').replaceAll('=', '');
      const { socket } = await raw('/socket/websocket?&vsn=2.0.0', {
        protocols: ['phoenix', `base64url.bearer.phx.${token}`],
      });
      assert.equal(socket.protocol, 'phoenix');
      socket.close();
    });

    it('rejoin: the new join is answered first, then the old one closed; what names the old one is ignored', async () => {
      const user = await register();
      const { socket, send, next } = await raw(`/socket/websocket?userToken=${user}&vsn=2.0.0`);
      send(['11', '1', 'notifications', 'phx_join', { presence: false }]);
      await next(1);
      send(['12', '2', 'notifications', 'phx_join', { presence: false }]);
      const [reply, close] = await next(2);
      assert.deepEqual(reply?.slice(0, 4), ['12', '2', 'notifications', 'phx_reply']);
      assert.deepEqual(close, ['11', '11', 'notifications', 'phx_close', {}]);
      send(['11', '3', 'notifications', 'ping', { old: 1 }]);
      send([null, '4', 'notifications', 'ping', { none: 1 }]);
      const [answer] = await next(1);
      assert.deepEqual(answer, [
        null,
        '4',
        'notifications',
        'phx_reply',
        { status: 'ok', response: { none: 1 } },
      ]);
      // What is not joined.
      send(['9', '5', 'events:x', 'anything', {}]);
      send(['9', '6', 'events:x', 'phx_leave', {}]);
      send([null, '7', 'phoenix', 'heartbeat', {}]);
      assert.deepEqual(await next(3), [
        [null, '5', 'events:x', 'phx_reply', { status: 'error', response: { reason: 'unmatched topic' } }],
        ['9', '6', 'events:x', 'phx_reply', { status: 'ok', response: {} }],
        [null, '7', 'phoenix', 'phx_reply', { status: 'ok', response: {} }],
      ]);
      // One event reaches the new subscription, and only that.
      await push(user, 'once');
      const [message] = await next(1);
      assert.deepEqual(message?.slice(0, 4), ['12', null, 'notifications', 'msg']);
      socket.close();
    });

    it('the 101st channel is refused', async () => {
      const { socket, send, next } = await raw('/socket/websocket?vsn=2.0.0', { headers: asAdmin });
      for (const n of numbers(101)) {
        send([String(n), String(n), `events:many-${n}`, 'phx_join', { presence: false }]);
      }
      const frames = await next(201);
      const last = frames.find((frame) => frame[1] === '101');
      assert.deepEqual(last?.[4], { status: 'error', response: { reason: 'too many channels joined' } });
      socket.close();
    });

    it('G8: bad frames end at most their own socket; a payload that is no object is answered', async () => {
      const witness = openAs(await register()).channel('notifications');
      await answered(witness.join());
      for (const bad of [
        '{oops',
        '["1","1","notifications","ping"]',
        '[]',
        'null',
        '{"a":1}',
        '[1,2,3,4,5]',
      ]) {
        const { socket } = await raw('/socket/websocket?vsn=2.0.0', { headers: asAdmin });
        socket.send(bad);
        const [code] = (await once(socket, 'close')) as [number];
        assert.equal(code, 1008, bad);
      }
      const bytes = await raw('/socket/websocket?vsn=2.0.0', { headers: asAdmin });
      bytes.socket.send(Uint8Array.of(0, 200, 1));
      assert.equal(((await once(bytes.socket, 'close')) as [number])[0], 1008);
      const { socket, send, next } = await raw('/socket/websocket?vsn=2.0.0', { headers: asAdmin });
      for (const join of [
        '"x"',
        '1',
        'null',
        '[]',
        '{"after":{}}',
        '{"presence":7}',
        `{"presence":{"a":"${'x'.repeat(1_100)}"}}`,
      ]) {
        send(`["1","1","notifications","phx_join",${join}]`);
        const [reply] = await next(1);
        assert.match(JSON.stringify(reply), /"status":"error".*ERR_REQUEST_INVALID/, join);
      }
      send(['1', '2', 'notifications', 'phx_join', { presence: false }]);
      await next(1);
      for (const payload of ['"text"', '1', 'null', '[1]']) {
        send(`["1","3","notifications","shout",${payload}]`);
        const [reply] = await next(1);
        assert.match(JSON.stringify(reply), /"status":"error".*must be a JSON object/);
      }
      send(`["1","4","notifications","shout",${'{"a":'.repeat(600)}1${'}'.repeat(600)}]`);
      assert.match(JSON.stringify(await next(1)), /nest deeper/);
      assert.deepEqual(await answered(witness.push('ping', { still: 'here' })), { still: 'here' });
      socket.close();
    });

    it('G8: joins and updates of presence that come too often are refused, and told to nobody', async () => {
      const witness = open({ authToken: TOKEN }).channel('events:busy');
      let diffs = 0;
      witness.on('presence_diff', () => (diffs += 1));
      await answered(witness.join());
      const busy = open({ authToken: TOKEN }).channel('events:busy');
      await answered(busy.join());
      const refused = await Promise.all(
        numbers(50).map((n) =>
          answered(busy.push('presence_update', { n })).then(
            () => false,
            (error: unknown) => String(error).includes('ERR_RATE_LIMITED'),
          ),
        ),
      );
      assert.ok(refused.filter(Boolean).length >= 35);
      assert.deepEqual(
        await answered(witness.push('push', { created_at: 1, payload: 1 })).then((r) => r['version']),
        1,
      );
      assert.ok(diffs < 20, String(diffs));
      const { socket, send, next } = await raw('/socket/websocket?vsn=2.0.0', { headers: asAdmin });
      for (const n of numbers(260)) {
        send([String(n), String(n), 'nothing:here', 'phx_join', {}]);
      }
      const replies = JSON.stringify(await next(260));
      assert.match(replies, /ERR_RATE_LIMITED/);
      socket.close();
    });

    it('G7: a member that takes no broadcasts is cut off, and costs only itself', async () => {
      const user = await register();
      const { socket, send } = await raw(`/socket/websocket?vsn=2.0.0&userToken=${user}`);
      send(['1', '1', 'notifications', 'phx_join', { presence: false }]);
      await until(() => socket.bufferedAmount === 0, 'the join');
      socket.pause();
      const closed = once(socket, 'close');
      const shouter = await raw('/socket/websocket?vsn=2.0.0', { headers: asAdmin });
      shouter.send(['1', '1', 'notifications', 'phx_join', { presence: false }]);
      await shouter.next(1);
      const isListed = async (): Promise<boolean> =>
        JSON.stringify(await (await service.fetch('/clients')).json()).includes(user);
      const text = 'x'.repeat(500_000);
      // More than the limit of what may wait, and what the buffers of the system hold.
      for (let shouts = 0; shouts < 30; shouts += 1) {
        shouter.send(['1', '2', 'notifications', 'shout', { text }]);
        await shouter.next(1);
      }
      await until(async () => !(await isListed()), 'the member to be cut off');
      assert.equal(shouter.socket.readyState, shouter.socket.OPEN);
      shouter.socket.terminate();
      socket.resume();
      const [code] = (await closed) as [number];
      assert.ok(code === 4003 || code === 1006, String(code));
    });

    it('G10: dropped: closed with 1001, comes back; removed: refused with 403 for good', async () => {
      const user = await register();
      const codes: number[] = [];
      const socket = open({ params: { userToken: user }, reconnectAfterMs: () => 50 });
      socket.onClose(({ code }) => codes.push(code));
      const channel = socket.channel('notifications');
      await answered(channel.join());
      await service.post('/drop_user', { drop_access_id: user });
      await until(() => codes[0] === 1001 && socket.isConnected(), 'being back');
      let errors = 0;
      socket.onError(() => (errors += 1));
      await service.fetch(`/api/json/accounts/users/${user}`, { method: 'DELETE' });
      await until(() => codes[1] === 1001 && errors > 1, 'being refused');
      assert.equal(socket.isConnected(), false);
    });

    it('heartbeats are answered with no channel joined: the client stays', async () => {
      const socket = open({ params: { userToken: await register() }, heartbeatIntervalMs: 50 });
      let closes = 0;
      let answers = 0;
      socket.onClose(() => (closes += 1));
      socket.onMessage(() => (answers += 1));
      // A client whose heartbeat is not answered closes at the next one.
      await until(() => answers >= 10, 'ten answers');
      assert.deepEqual([socket.isConnected(), closes], [true, 0]);
    });

    it('a Phoenix client is a client like any other: GET /clients names it', async () => {
      const user = await register();
      const channel = openAs(user).channel('notifications');
      await answered(channel.join());
      const clients = (await (await service.fetch('/clients')).json()) as {
        access_id: string;
        gateway: string;
      }[];
      assert.deepEqual(
        clients.filter((one) => one.access_id === user).map((one) => one.gateway),
        ['phoenix'],
      );
    });

    it('the UUID as a credential, and presence, can be switched off', async () => {
      const other = await startService({
        LASTSEEN_PHOENIX_USER_TOKEN: 'off',
        LASTSEEN_PHOENIX_PRESENCE: 'off',
      });
      const user = await register(other);
      const refused = new Promise<void>((resolve) => {
        openAs(user, other.port).onError(() => {
          resolve();
        });
      });
      await refused;
      const channel = open({ authToken: TOKEN }, other.port).channel('notifications');
      let states = 0;
      channel.on('presence_state', () => (states += 1));
      assert.equal((await answered(channel.join()))['presence_key'], undefined);
      assert.deepEqual(await answered(channel.push('ping', {})), {});
      assert.equal(states, 0);
      for (const socket of sockets) {
        socket.disconnect();
      }
      await other.stop();
    });

    if (engine.name === 'PostgreSQL') {
      it('G10: across nodes: broadcasts, messages and presence, also when a node dies', async () => {
        const { Presence } = PHOENIX_CLIENTS[2] ?? assert.fail();
        const second = await startService(database.settings);
        const third = await startProcess('', database.settings);
        const [a, b, c] = [await register(), await register(), await register()];
        const here = openAs(a).channel('notifications');
        const heard: unknown[] = [];
        here.on('shout', (payload) => heard.push(payload));
        const presence = new Presence(here);
        const keys = (): string[] => presence.list((key) => key);
        await answered(here.join());
        const there = openAs(b, second.port).channel('notifications');
        await answered(there.join());
        const doomed = openAs(c, third.port);
        await answered(doomed.channel('notifications').join());
        await until(
          () => [b, c].every((user) => keys().includes(presenceKey(user))),
          'those on the other nodes',
        );
        there.push('shout', { from: 'there' });
        await until(() => heard.length === 1, 'the shout');
        await third.end('SIGKILL');
        doomed.disconnect();
        await until(() => !keys().includes(presenceKey(c)), 'the dead node’s to go');
        assert.ok(keys().includes(presenceKey(b)) && keys().includes(presenceKey(a)));
        await second.stop();
        await until(() => !keys().includes(presenceKey(b)), 'those of the stopped node to go');
      });
    }
  });
});
