/** Budgets: what is reserved never exceeds the limits, and everything that is released can be reserved again. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ByteBudget, createByteBudget, type Reservation } from '../../src/delivery/byte-budget.ts';
import { LastseenError } from '../../src/errors.ts';

const budgetOf = (limitBytes: number, ownerLimitBytes = limitBytes): ByteBudget =>
  createByteBudget({ name: 'test', noun: 'tests', limitBytes, ownerLimitBytes });
const never = new AbortController().signal;

function reserve(budget: ByteBudget, owner: string, bytes: number): Reservation {
  return budget.reserve({ owner, bytes }) ?? assert.fail(`${owner} was refused ${bytes} bytes`);
}

describe('G7: a budget of bytes', () => {
  it('refuses what exceeds the limit, and counts it', () => {
    const budget = budgetOf(100);
    const first = reserve(budget, 'a', 60);
    assert.equal(budget.reserve({ owner: 'b', bytes: 41 }), undefined);
    assert.deepEqual([budget.reservedBytes, budget.refusals], [60, 1]);
    first.release();
    first.release();
    assert.equal(budget.reservedBytes, 0);
    reserve(budget, 'b', 41);
  });

  it('one owner cannot reserve the bytes of all', () => {
    const budget = budgetOf(100, 50);
    reserve(budget, 'a', 50);
    assert.equal(budget.reserve({ owner: 'a', bytes: 1 }), undefined);
    reserve(budget, 'b', 50);
  });

  it('a request above the limit is granted alone', () => {
    const budget = budgetOf(100);
    const large = reserve(budget, 'a', 200);
    assert.equal(budget.reserve({ owner: 'b', bytes: 1 }), undefined);
    assert.ok(large.grow(50));
    large.release();
    const small = reserve(budget, 'b', 1);
    assert.equal(small.grow(100), true);
    assert.equal(budget.reserve({ owner: 'a', bytes: 1 }), undefined);
  });

  it('a reservation that grows keeps within the limit', () => {
    const budget = budgetOf(100);
    reserve(budget, 'a', 50);
    const growing = reserve(budget, 'b', 0);
    assert.ok(growing.grow(50));
    assert.ok(!growing.grow(1));
    assert.equal(budget.reservedBytes, 100);
    growing.release();
    assert.equal(budget.reservedBytes, 50);
    assert.ok(!growing.grow(1), 'a released reservation holds nothing');
    assert.equal(budget.reservedBytes, 50);
  });

  it('waiting requests are granted in order, and an owner at its limit does not hold up others', async () => {
    const budget = budgetOf(100, 60);
    const first = await budget.wait({ owner: 'a', bytes: 60 }, never);
    const granted: string[] = [];
    const waitAs = (owner: string, name: string, bytes: number): void => {
      void budget.wait({ owner, bytes }, never).then(() => granted.push(name));
    };
    waitAs('a', 'a1', 30);
    waitAs('a', 'a2', 30);
    waitAs('b', 'b1', 40);
    await Promise.resolve();
    assert.equal(budget.waiting, 2);
    first.settle(10);
    await Promise.resolve();
    await Promise.resolve();
    assert.deepEqual(granted, ['b1', 'a1']);
    assert.equal(budget.waiting, 1);
    first.release();
    await Promise.resolve();
    await Promise.resolve();
    assert.deepEqual([granted, budget.waiting, budget.reservedBytes], [['b1', 'a1', 'a2'], 0, 100]);
  });

  it('a request that has waited too long is refused with ERR_QUEUE_FULL, and reserves nothing', async () => {
    const budget = budgetOf(100);
    const all = reserve(budget, 'a', 100);
    const patience = new AbortController();
    const refused = budget.wait({ owner: 'b', bytes: 1 }, patience.signal);
    patience.abort();
    await assert.rejects(
      refused,
      (error) => error instanceof LastseenError && error.code === 'ERR_QUEUE_FULL' && error.temporary,
    );
    all.release();
    assert.deepEqual([budget.reservedBytes, budget.waiting, budget.refusals], [0, 0, 1]);
  });
});
