/** End to end through a proxy that cuts, delays and swallows at random: what four publishers pushed, twenty subscribers get, once. */
import assert from 'node:assert/strict';
import { setMaxListeners } from 'node:events';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { createPublisher, subscribe, type TransportName } from '../../src/client/index.ts';
import { createChance, SEED } from '../support/chance.ts';
import { startProxy } from '../support/proxy.ts';
import { startService, TOKEN } from '../support/service.ts';
import { PATIENCE_MS, until } from '../support/until.ts';

/** `CHAOS_SECONDS` asks for more. */
const CHAOS_MS = Number(process.env['CHAOS_SECONDS'] ?? 10) * 1_000;

/** Shorter than the server's heartbeat, so that a half-open connection is found out while the test runs. */
const SILENCE_MS = 2_500;

const PUBLISHERS = 4;
const SUBSCRIBERS = 20;
const FEEDS = 5;

it('G3, G5: pushed is received, each event once and in order, whatever the network does', async (context) => {
  context.diagnostic(`seed ${SEED}`);
  const service = await startService();
  const proxy = await startProxy(service.port);
  const url = `http://127.0.0.1:${proxy.port}`;
  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  const chance = createChance(SEED);
  const chaos = { isOver: false };
  const raging = (async () => {
    while (!chaos.isOver) {
      await sleep(chance.between(100, 500));
      const dice = chance.between(0, 1);
      if (dice < 0.5) {
        proxy.cut();
      } else if (dice < 0.8) {
        proxy.delay(chance.between(0, 800));
      } else {
        proxy.swallow();
      }
    }
  })();

  const pushed = Array.from({ length: FEEDS }, () => new Set<string>());
  const publishing = Array.from({ length: PUBLISHERS }, async (_, who) => {
    const publisher = createPublisher({
      url,
      token: TOKEN,
      maxBatchEvents: 20,
      requestTimeoutMs: SILENCE_MS,
    });
    const answers: Promise<unknown>[] = [];
    for (let n = 0; !chaos.isOver; n += 1) {
      const feed = (who + n) % FEEDS;
      const payload = `${who}-${n}`;
      pushed[feed]?.add(payload);
      answers.push(publisher.push({ accessId: `feed-${feed}`, createdAt: n, payload }));
      await sleep(5);
    }
    await publisher.close();
    for (const [result] of (await Promise.all(answers)) as { ok: boolean }[][]) {
      assert.equal(result?.ok, true);
    }
  });

  const transports: TransportName[][] = [['websocket'], ['websocket'], ['stream'], ['poll']];
  const received = Array.from({ length: SUBSCRIBERS }, () => [] as { version: number; payload: unknown }[]);
  const subscribing = received.map(async (events, who) => {
    for await (const { version, payload } of subscribe({
      url,
      token: TOKEN,
      WebSocket,
      accessId: `feed-${who % FEEDS}`,
      after: 'start',
      transports: transports[who % transports.length] ?? ['websocket'],
      signal: stop.signal,
      silenceMs: SILENCE_MS,
    })) {
      events.push({ version, payload });
    }
  });

  const total = (): number => pushed.reduce((sum, feed) => sum + feed.size, 0);
  await sleep(CHAOS_MS);
  await until(
    () => total() > 500 && proxy.accepted > 100,
    () => `500 events through 100 connections, got ${total()} through ${proxy.accepted}`,
  );
  chaos.isOver = true;
  await Promise.all([raging, ...publishing]);
  const isMissing = (): boolean =>
    received.some((events, who) => events.length < (pushed[who % FEEDS]?.size ?? 0));
  // Pauses between tries last up to 20 s: nothing at all for longer is the end.
  const count = (): number => received.reduce((sum, events) => sum + events.length, 0);
  for (let [before, since] = [count(), Date.now()]; isMissing() && Date.now() - since < PATIENCE_MS;) {
    await sleep(50);
    if (count() > before) {
      [before, since] = [count(), Date.now()];
    }
  }
  stop.abort();
  await Promise.all(subscribing);
  received.forEach((events, who) => {
    const expected = pushed[who % FEEDS] ?? new Set();
    assert.deepEqual(
      events.map((event) => event.version),
      Array.from({ length: expected.size }, (_, at) => at + 1),
    );
    assert.deepEqual(new Set(events.map((event) => event.payload)), expected);
  });
  context.diagnostic(`${total()} events through ${proxy.accepted} connections`);
  await proxy.close();
  await service.stop();
});
