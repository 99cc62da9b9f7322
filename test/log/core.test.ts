/** The writer, the tail and the JSON scanner by themselves, with a port that the test holds. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { LastseenError } from '../../src/errors.ts';
import { compact, depthOf, elementSpans, memberSpan } from '../../src/json-text.ts';
import type { LogEvent } from '../../src/log/event.ts';
import { type Lineage, originOf } from '../../src/log/place.ts';
import type { AppendRequest, AppendResult } from '../../src/log/store.ts';
import { createSubscription } from '../../src/log/subscription.ts';
import { createTail } from '../../src/log/tail.ts';
import { createWriter, DEFAULT_WRITER_LIMITS } from '../../src/log/writer.ts';
import { systemRuntime } from '../../src/system-runtime.ts';

const lineage: Lineage = { epoch: 'epoch000' };

const request = (count = 1): AppendRequest => ({
  key: null,
  events: Array.from({ length: count }, () => ({ accessId: 'a', createdAt: 0, id: null, payload: '1' })),
});

function code(expected: string): (error: unknown) => boolean {
  return (error) => error instanceof LastseenError && error.code === expected && error.temporary;
}

/** A store whose commits end when the test says so. */
function heldStore(): {
  commits: { requests: readonly AppendRequest[]; end: (error?: Error) => void }[];
  append: (requests: readonly AppendRequest[]) => Promise<AppendResult>;
} {
  const commits: ReturnType<typeof heldStore>['commits'] = [];
  let head = 0;
  return {
    commits,
    append: (requests) =>
      new Promise((resolve, reject) => {
        commits.push({
          requests,
          end(error) {
            if (error !== undefined) {
              reject(error);
            } else {
              resolve({
                recordedAt: 1,
                outcomes: requests.map(({ events }) => ({
                  receipts: events.map((event) => ({
                    ...event,
                    lineage,
                    tag: 1,
                    position: (head += 1),
                    version: head,
                    createdAt: event.createdAt ?? 1,
                    recordedAt: 1,
                    duplicate: false,
                  })),
                })),
              });
            }
          },
        });
      }),
  };
}

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
};

describe('the writer', () => {
  it('G1: callers that wait share one commit, and are answered after it', async () => {
    const store = heldStore();
    const committed: number[] = [];
    const writer = createWriter({
      store,
      runtime: systemRuntime,
      onCommitted: (events) => committed.push(...events.map((event) => event.position)),
    });
    const answered: number[] = [];
    const all = [1, 2, 3, 4].map((name) => writer.append(request()).then(() => answered.push(name)));
    await turns();
    assert.equal(store.commits.length, 1);
    assert.equal(store.commits[0]?.requests.length, 4);
    assert.deepEqual([answered, committed], [[], []]);
    store.commits[0].end();
    await Promise.all(all);
    assert.deepEqual(
      [answered, committed],
      [
        [1, 2, 3, 4],
        [1, 2, 3, 4],
      ],
    );
  });

  it('G7: a full queue refuses with ERR_QUEUE_FULL and takes more when it has emptied', async () => {
    const store = heldStore();
    const writer = createWriter({
      store,
      runtime: systemRuntime,
      onCommitted: () => undefined,
      limits: { ...DEFAULT_WRITER_LIMITS, maxQueuedEvents: 10 },
    });
    const first = writer.append(request(5));
    await turns();
    const second = writer.append(request(5));
    await assert.rejects(writer.append(request(1)), code('ERR_QUEUE_FULL'));
    store.commits[0]?.end();
    await first;
    await turns();
    store.commits[1]?.end();
    await second;
    assert.equal(writer.queuedEvents, 0);
    const third = writer.append(request(1));
    await turns();
    store.commits[2]?.end();
    await third;
  });

  it('G14: after a failure that names no outcome the callers learn that it is not known', async () => {
    const store = heldStore();
    const writer = createWriter({
      store,
      runtime: systemRuntime,
      onCommitted: () => assert.fail('nothing was committed'),
    });
    const failing = [writer.append(request()), writer.append(request())];
    await turns();
    store.commits[0]?.end(new Error('disk'));
    for (const one of failing) {
      await assert.rejects(one, code('ERR_OUTCOME_UNKNOWN'));
    }
    assert.equal(writer.queuedEvents, 0);
  });

  it('drain answers what was taken and takes nothing more', async () => {
    const store = heldStore();
    const writer = createWriter({ store, runtime: systemRuntime, onCommitted: () => undefined });
    const taken = writer.append(request());
    const drained = writer.drain();
    await assert.rejects(writer.append(request()), code('ERR_DRAINING'));
    await turns();
    store.commits[0]?.end();
    await Promise.all([taken, drained]);
  });
});

describe('the tail', () => {
  const event = (position: number, accessId = 'a', payload = '1'): LogEvent => ({
    lineage,
    position,
    tag: 1,
    accessId,
    version: position,
    createdAt: 0,
    recordedAt: 0,
    id: null,
    payload,
  });
  const limit = { maxEvents: 100, maxBytes: 1e6 };

  it('G3: takes only what continues it, and reads the store for what it missed', async () => {
    const stored = [1, 2, 3, 4, 5].map((position) => event(position));
    const tail = createTail({
      store: { readLog: (after) => Promise.resolve(stored.filter((one) => one.position > after)) },
      head: originOf(lineage),
      onError: (error) => assert.fail(String(error)),
    });
    tail.offer([event(1), event(2)]);
    tail.offer([event(2)]);
    assert.equal(tail.head.position, 2);
    tail.offer([event(5)]);
    await turns();
    assert.equal(tail.head.position, 5);
    assert.deepEqual(
      tail.readAfter('a', 0, limit)?.map((one) => one.position),
      [1, 2, 3, 4, 5],
    );
  });

  it('G7: keeps a bounded number of bytes; the floor follows', () => {
    const tail = createTail({
      store: { readLog: () => Promise.resolve([]) },
      head: originOf(lineage),
      onError: (error) => assert.fail(String(error)),
      limits: { maxBytes: 10_000 },
    });
    for (let position = 1; position <= 5_000; position += 1) {
      tail.offer([event(position, `f${position % 7}`, '"xxxxxxxxxx"')]);
    }
    assert.equal(tail.head.position, 5_000);
    assert.ok(tail.floor > 4_900 && tail.floor < 5_000);
    const kept = [0, 1, 2, 3, 4, 5, 6].flatMap((feed) => tail.readAfter(`f${feed}`, tail.floor, limit) ?? []);
    assert.equal(kept.length, 5_000 - tail.floor);
  });

  it('a failing store is told to the operator, and the next hint reads again', async () => {
    const errors: unknown[] = [];
    let fails = true;
    const tail = createTail({
      store: {
        readLog: (after) =>
          fails ? Promise.reject(new Error('gone')) : Promise.resolve(after === 0 ? [event(1)] : []),
      },
      head: originOf(lineage),
      onError: (error) => errors.push(error),
    });
    tail.wake();
    await turns();
    assert.equal(errors.length, 1);
    fails = false;
    tail.wake();
    await turns();
    assert.equal(tail.head.position, 1);
  });
});

describe('a subscription', () => {
  it('G8: a store that does not move forward ends the reader, and is not asked again and again', async () => {
    const start = { ...originOf(lineage), position: 3 };
    const tail = createTail({
      store: { readLog: () => Promise.resolve([]) },
      head: { ...start, position: 5 },
      onError: (error) => assert.fail(String(error)),
    });
    let reads = 0;
    const subscription = createSubscription({
      read: (_, position) => {
        reads += 1;
        return Promise.resolve({ events: [], through: position, pruned: originOf(lineage) });
      },
      tail,
      requireCurrent: () => undefined,
      accessId: 'a',
      start,
      onMore: () => undefined,
    });
    await assert.rejects(async () => subscription.next(), /did not move forward/);
    assert.equal(reads, 1);
  });
});

describe('JSON as text', () => {
  it('G9: compacting drops white space between tokens and nothing else', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(0, 1, 3, '\t', '  '), (value, indent) => {
        const text = JSON.stringify(value);
        assert.equal(compact(JSON.stringify(value, null, indent)), text);
        assert.equal(compact(` \r\n\t${text}\n `), text);
      }),
    );
  });

  it('finds every element and member, however they are written', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), fc.constantFrom(0, 2), (values, indent) => {
        const text = JSON.stringify(values, null, indent);
        assert.deepEqual(
          elementSpans(text).map(({ start, end }) => JSON.parse(text.slice(start, end)) as unknown),
          JSON.parse(text),
        );
      }),
    );
    const member = (text: string, name: string): string | undefined => {
      const span = memberSpan(text, 0, name);
      return span && text.slice(span.start, span.end);
    };
    assert.equal(member('{"payload":1,"payload": [2 ] }', 'payload'), '[2 ]');
    assert.equal(member('{"a":{"payload":1},"p\\u0061yload":"}\\\\\\""}', 'payload'), '"}\\\\\\""');
    assert.equal(member('{"a":"\\"payload\\":1"}', 'payload'), undefined);
    assert.equal(member('{}', 'payload'), undefined);
    assert.equal(depthOf('[[{"a":"[["}]]'), 3);
  });

  it('ends on any text whatever', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ',', ':', ' ', '1') }),
        (text) => {
          elementSpans(text);
          compact(text);
          depthOf(text);
        },
      ),
    );
  });
});
