/** What the console makes of metrics and of results, without a browser. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseMetrics, quantile, rate, total } from '../../src/console/prometheus.ts';
import { csvOf, plotDataOf, type QueryResult, resultOf } from '../../src/console/query-result.ts';

const text = (count: number, fast: number): string => `# HELP events How many.
# TYPE events counter
events{gateway="a",phase="live"} ${count}
events{gateway="b",phase="catch_up"} 10
events_other 99
took_bucket{le="0.001"} ${fast}
took_bucket{le="0.01"} ${fast * 2}
took_bucket{le="+Inf"} ${fast * 2}
`;

describe('figures', () => {
  const before = parseMetrics(text(100, 10), 1_000);
  const now = parseMetrics(text(300, 20), 3_000);

  it('a metric is the sum over its labels, and only of its own name', () => {
    assert.equal(total(now, 'events'), 310);
    assert.equal(total(now, 'events', 'phase="live"'), 300);
    assert.equal(total(now, 'none'), 0);
  });

  it('a rate is by the second, and never below zero when a counter began anew', () => {
    assert.equal(rate(before, now, 'events'), 100);
    assert.equal(rate(now, parseMetrics(text(1, 1), 5_000), 'events'), 0);
    assert.equal(rate(now, now, 'events'), 0);
  });

  it('a quantile is of what came between two samples', () => {
    assert.equal(quantile(before, now, 'took', 0.5), 0.001);
    const high = quantile(before, now, 'took', 0.99);
    assert.ok(high > 0.009 && high <= 0.01, String(high));
    assert.ok(Number.isNaN(quantile(now, now, 'took', 0.5)));
  });
});

describe('results', () => {
  const result = (columns: string[], ...rows: unknown[][]): QueryResult => ({
    columns,
    rows,
    isTruncated: false,
  });

  it('an answer that is no table is refused', () => {
    assert.deepEqual(resultOf({ columns: ['a'], rows: [[1]], truncated: true }), {
      columns: ['a'],
      rows: [[1]],
      isTruncated: true,
    });
    for (const answer of [null, [], { columns: ['a'] }, { columns: ['a'], rows: [1] }]) {
      assert.throws(() => resultOf(answer), /the answer is not/);
    }
  });

  it('CSV quotes what must be quoted, and nothing in it is a formula', () => {
    const csv = csvOf(
      result(['a,b', 'c'], ['x"y', null], ['two\nlines', -1], ['=1+1', { a: [1] }], ['@now', true]),
    );
    assert.equal(csv, '"a,b",c\r\n"x""y",\r\n"two\nlines",-1\r\n\'=1+1,"{""a"":[1]}"\r\n\'@now,true\r\n');
  });

  it('a plot has the first column below and every other number above, in order', () => {
    assert.deepEqual(plotDataOf(result(['n', 'a', 'text', 'b'], [2, 1, 'x', '7'], [1, null, 'y', 8]), 5), {
      x: [1, 2],
      isTime: false,
      names: undefined,
      series: [
        { label: 'a', values: [null, 1] },
        { label: 'b', values: [8, 7] },
      ],
    });
  });

  it('a plot knows times, by number or by text, and takes words as they come', () => {
    const times = plotDataOf(result(['at', 'n'], [1_763_640_000_000, 1], [1_763_640_060_000, 2]), 5);
    assert.deepEqual([times?.isTime, times?.x], [true, [1_763_640_000, 1_763_640_060]]);
    const days = plotDataOf(result(['day', 'n'], ['2026-01-02', 1], ['2026-01-01', 2]), 5);
    assert.deepEqual([days?.isTime, days?.series[0]?.values], [true, [2, 1]]);
    const words = plotDataOf(result(['name', 'n'], ['b', 1], ['a', 2]), 5);
    assert.deepEqual([words?.isTime, words?.names, words?.x], [false, ['b', 'a'], [0, 1]]);
  });

  it('there is no plot without a column of numbers', () => {
    assert.equal(plotDataOf(result(['a', 'b'], [1, 'x']), 5), undefined);
    assert.equal(plotDataOf(result(['a', 'b']), 5), undefined);
  });
});
